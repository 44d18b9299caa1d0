/* SPDX-License-Identifier: MIT */
/* The kernel's text console: its font and what it believes to show. All of the first virtual terminal, which needs root. Each returns 0, or -1 with errno. */
#ifndef TESTS_GUEST_TEXT_H
#define TESTS_GUEST_TEXT_H

/* Prints `kms: font WIDTH HEIGHT HEX`: the first 256 glyphs, 32 rows each of (WIDTH + 7) / 8 bytes, the highest bit to the left. */
int text_font(void);

/* Prints `kms: row TEXT` for each row, without the blanks at its end. */
int text_screen(void);

/* Writes words, with a blank between two and a new line after the last. */
int text_write(char **words, int n);

#endif
