/* SPDX-License-Identifier: MIT */
/*
 * Which file system a disk holds, for rootfstype= on the kernel's command line. Nothing is mounted or trusted: a wrong guess is
 * a kernel that says so.
 *
 * Thread: the main thread.
 */
#ifndef VMM_ROOTFS_H
#define VMM_ROOTFS_H

/* Return: the name Linux has for the file system at the start of @path, or NULL when it is none of the known ones or cannot be read. */
const char *rootfs_type(const char *path);

#endif
