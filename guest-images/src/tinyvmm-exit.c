/* SPDX-License-Identifier: MIT */
/* tinyvmm-exit N: ends the VM with exit code N through the exit port (machine.exit_port). Needs CAP_SYS_RAWIO. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

#define EXIT_PORT 0xf4

int main(int argc, char **argv)
{
	char *end;
	unsigned long code;

	if (argc != 2 || (code = strtoul(argv[1], &end, 10)) > 255 || *end || end == argv[1]) {
		fprintf(stderr, "usage: tinyvmm-exit 0..255\n");
		return 2;
	}
	if (ioperm(EXIT_PORT, 1, 1) < 0) {
		perror("tinyvmm-exit: ioperm");
		return 1;
	}
	outb((unsigned char)code, EXIT_PORT);
	fprintf(stderr, "tinyvmm-exit: still here: is machine.exit_port on?\n");
	return 1;
}
