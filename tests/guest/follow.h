/* SPDX-License-Identifier: MIT */
/* A guest that follows its monitor: what a desktop does about the kernel's word that an output has changed, and no more. */
#ifndef TESTS_GUEST_FOLLOW_H
#define TESTS_GUEST_FOLLOW_H

#include "card.h"

/**
 * follow - set each mode that the screen comes to prefer, and paint it
 *
 * @width, @height: a mode of its own to begin with; 0: the one that it prefers now. Each is said as `kms: follows N WxH` when it is shown: N, from 1 on, is the number of the frame that is painted (PAINT_SCENE). Looks only when the
 * kernel says that something has changed, until there is something on standard input, which is left there.
 *
 * Return: how many modes it has set; -1 with errno, and *what says what failed.
 */
int follow(const struct card *c, unsigned screen, uint32_t width, uint32_t height, const char **what);

#endif
