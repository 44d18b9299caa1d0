/* SPDX-License-Identifier: MIT */
/* For test programs that draw with Mesa: its drivers lose a few hundred bytes each time they are opened, and LeakSanitizer is told that those are theirs. */
#ifndef TESTS_SUPPORT_MESA_H
#define TESTS_SUPPORT_MESA_H

/* The drivers that are open now stay in memory, so that it is known whose what they lost is. Once, before the tests. Thread: any. */
void mesa_keep_drivers(void);
/* Those that a test has open, as cmocka's set-up of a group of such tests. Return: as that wants it. */
int mesa_keep_drivers_of(int (*set_up)(void **state), int (*tear_down)(void **state), void **state);

/* The address of an OpenGL function, for a copy into a pointer to it: NULL where there is no EGL. Thread: any. */
void *mesa_function(const char *name);

#endif
