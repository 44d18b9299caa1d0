/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GLYPHS 256

int text_font(void)
{
	static unsigned char data[512 * 32 * 4];
	struct console_font_op op = {.op = KD_FONT_OP_GET, .width = 32, .height = 32, .charcount = 512, .data = data};
	int fd = open("/dev/tty1", O_RDWR | O_NOCTTY | O_CLOEXEC), r;

	if (fd < 0) {
		return -1;
	}
	r = ioctl(fd, KDFONTOP, &op);
	close(fd);
	if (r != 0) {
		return -1;
	}
	printf("kms: font %u %u ", op.width, op.height);
	for (unsigned i = 0; i < GLYPHS * 32 * ((op.width + 7) / 8); i++) {
		printf("%02x", data[i]);
	}
	printf("\n");
	return 0;
}

int text_screen(void)
{
	/* A header of four bytes, rows, columns and the cursor's place, then a character and its attribute for each place. */
	static unsigned char data[4 + 255 * 255 * 2];
	int fd = open("/dev/vcsa1", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));

	if (fd >= 0) {
		close(fd);
	}
	if (n < 4 || n < 4 + data[0] * data[1] * 2) {
		errno = n < 0 ? errno : EPROTO;
		return -1;
	}
	for (int y = 0; y < data[0]; y++) {
		char row[256];
		int len = 0;

		for (int x = 0; x < data[1]; x++) {
			row[x] = (char)data[4 + (y * data[1] + x) * 2];
			len = row[x] != ' ' ? x + 1 : len;
		}
		printf("kms: row %.*s\n", len, row);
	}
	return 0;
}

int text_write(char **words, int n)
{
	FILE *f = fopen("/dev/tty1", "we");

	if (!f) {
		return -1;
	}
	for (int i = 0; i < n; i++) {
		fprintf(f, "%s%c", words[i], i + 1 < n ? ' ' : '\n');
	}
	return fclose(f) == 0 ? 0 : -1;
}
