/* SPDX-License-Identifier: MIT */
/* power-button FILE: waits until the ACPI power button is pressed; FILE is made when it listens. Exit code 0: pressed; 1: there is none. */
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define DEVICES_MAX 8

int main(int argc, char **argv)
{
	struct pollfd fds[DEVICES_MAX];
	nfds_t n = 0;

	for (int i = 0; i < DEVICES_MAX; i++) {
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		fd = open(path, O_RDONLY);
		if (fd >= 0) {
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
	/* Whoever presses it after that is heard. */
	if (argc > 1) {
		close(open(argv[1], O_WRONLY | O_CREAT, 0600));
	}
	while (n > 0 && poll(fds, n, -1) > 0) {
		for (nfds_t i = 0; i < n; i++) {
			struct input_event ev;

			if ((fds[i].revents & POLLIN) && read(fds[i].fd, &ev, sizeof(ev)) == sizeof(ev) && ev.type == EV_KEY &&
				ev.code == KEY_POWER && ev.value == 1) {
				return 0;
			}
		}
	}
	return 1;
}
