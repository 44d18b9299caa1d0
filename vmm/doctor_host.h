/* SPDX-License-Identifier: MIT */
/*
 * What `tinyvmm doctor` looks at besides KVM: one function for each line. Each looks by doing: permission bits lie. For doctor.c and its test.
 *
 * What only some VMs need is a warning at most. Thread: the main thread.
 */
#ifndef VMM_DOCTOR_HOST_H
#define VMM_DOCTOR_HOST_H

struct gpu_node_host;

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_finding {
	enum doctor_level level; /* DOCTOR_OK before */
	char text[512]; /* what it is, and behind a colon the remedy */
};

/* @root: "" for this host; in a test, the folder in which dev, sys and so on are. */
void doctor_memory(const char *root, struct doctor_finding *f);
void doctor_hugepages(const char *root, struct doctor_finding *f);
void doctor_kvm_options(const char *root, struct doctor_finding *f);
void doctor_memfd(const char *root, struct doctor_finding *f);
void doctor_run_folder(const char *root, struct doctor_finding *f);
void doctor_io_uring(const char *root, struct doctor_finding *f);
void doctor_evdev(const char *root, struct doctor_finding *f);
void doctor_uinput(const char *root, struct doctor_finding *f);
void doctor_render(const char *root, struct doctor_finding *f);
void doctor_opengl(const char *root, struct doctor_finding *f);
void doctor_udmabuf(const char *root, struct doctor_finding *f);
void doctor_libpng(const char *root, struct doctor_finding *f);
void doctor_libevdev(const char *root, struct doctor_finding *f);
void doctor_xkbcommon(const char *root, struct doctor_finding *f);

/* The render nodes of a host, in the order in which gpu.render_node = "auto" tries them. */
void doctor_nodes(const struct gpu_node_host *host, struct doctor_finding *f);

/* A library that is loaded when it is wanted; what it is @wanted for, and the @package that has it. */
void doctor_library(const char *name, const char *wanted, const char *package, struct doctor_finding *f);

#endif
