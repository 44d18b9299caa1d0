/* SPDX-License-Identifier: MIT */
#include "boot/x86_elf.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/x86_layout.h"

#define PHDRS_MAX 256
#define NOTES_MAX 256
#define NOTES_LEN_MAX 16384u /* what comes later in a segment of notes is not looked at; Linux has 500 bytes */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* A program header of either class. */
struct phdr {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

struct headers {
	uint64_t phoff;
	uint32_t phnum, phentsize;
};

#define UNREADABLE "cannot be read, or became shorter meanwhile"

bool x86_elf_is(const uint8_t *bytes, uint64_t len)
{
	return len >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

static bool is_within(uint64_t off, uint64_t n, uint64_t len)
{
	return off <= len && n <= len - off;
}

static const char *read_header(struct x86_elf *elf, struct headers *h, const struct boot_image *img)
{
	const uint8_t *bytes = img->head;
	uint64_t len = img->kernel_len;
	Elf32_Ehdr e32;
	Elf64_Ehdr e64;

	if (len < sizeof(e32)) {
		return "truncated in the ELF header";
	}
	memcpy(&e32, bytes, sizeof(e32));
	if (e32.e_ident[EI_DATA] != ELFDATA2LSB || e32.e_type != ET_EXEC) {
		return "ELF file that is no executable for this machine";
	}
	if (e32.e_ident[EI_CLASS] == ELFCLASS32 && e32.e_machine == EM_386) {
		elf->entry = e32.e_entry;
		*h = (struct headers){.phoff = e32.e_phoff, .phnum = e32.e_phnum, .phentsize = e32.e_phentsize};
		return e32.e_phentsize == sizeof(Elf32_Phdr) ? NULL : "broken ELF header: size of program headers";
	}
	if (e32.e_ident[EI_CLASS] != ELFCLASS64 || e32.e_machine != EM_X86_64) {
		return "ELF executable for another machine: want x86-64 or i386";
	}
	if (len < sizeof(e64)) {
		return "truncated in the ELF header";
	}
	memcpy(&e64, bytes, sizeof(e64));
	elf->is_64bit = true;
	elf->entry = e64.e_entry;
	*h = (struct headers){.phoff = e64.e_phoff, .phnum = e64.e_phnum, .phentsize = e64.e_phentsize};
	return e64.e_phentsize == sizeof(Elf64_Phdr) ? NULL : "broken ELF header: size of program headers";
}

static struct phdr read_phdr(const struct x86_elf *elf, const uint8_t *p)
{
	Elf32_Phdr p32;
	Elf64_Phdr p64;

	if (elf->is_64bit) {
		memcpy(&p64, p, sizeof(p64));
		return (struct phdr){p64.p_type, p64.p_offset, p64.p_vaddr, p64.p_paddr, p64.p_filesz, p64.p_memsz};
	}
	memcpy(&p32, p, sizeof(p32));
	return (struct phdr){p32.p_type, p32.p_offset, p32.p_vaddr, p32.p_paddr, p32.p_filesz, p32.p_memsz};
}

static const char *add_segment(struct boot_image *img, const struct phdr *ph)
{
	unsigned n = img->nsegments;

	if (ph->memsz == 0) {
		return NULL;
	}
	if (ph->filesz > ph->memsz) {
		return "segment with more bytes in the file than in memory";
	}
	if (ph->paddr < X86_HIGH_MEMORY_GPA || ph->paddr >= X86_LOW_RAM_MAX || ph->memsz > X86_LOW_RAM_MAX - ph->paddr) {
		return "segment outside the memory from 1 MiB to 3 GiB";
	}
	for (unsigned i = 0; i < n; i++) {
		if (ph->paddr < img->segment[i].gpa + img->segment[i].memsz && img->segment[i].gpa < ph->paddr + ph->memsz) {
			return "overlapping segments";
		}
	}
	if (n == BOOT_SEGMENTS_MAX) {
		return "too many segments";
	}
	img->segment[n].offset = ph->offset;
	img->segment[n].filesz = ph->filesz;
	img->segment[n].gpa = ph->paddr;
	img->segment[n].memsz = ph->memsz;
	img->nsegments++;
	img->end = ph->paddr + ph->memsz > img->end ? ph->paddr + ph->memsz : img->end;
	return NULL;
}

/* Notes are (name size, description size, type, name, description), the last two padded to 4 bytes. What does not fit is ignored: notes are for
 * many readers. */
static void read_notes(struct x86_elf *elf, const uint8_t *p, uint64_t len)
{
	for (unsigned i = 0; i < NOTES_MAX; i++) {
		Elf64_Nhdr nh; /* the same in both classes */
		uint64_t name, desc;
		uint32_t entry;

		if (len < sizeof(nh)) {
			return;
		}
		memcpy(&nh, p, sizeof(nh));
		name = ((uint64_t)nh.n_namesz + 3) & ~3ull;
		desc = ((uint64_t)nh.n_descsz + 3) & ~3ull;
		if (name > len - sizeof(nh) || nh.n_descsz > len - sizeof(nh) - name) {
			return;
		}
		if (nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_namesz == 4 && memcmp(p + sizeof(nh), "Xen", 4) == 0 &&
			nh.n_descsz >= sizeof(entry)) {
			memcpy(&entry, p + sizeof(nh) + name, sizeof(entry));
			elf->pvh_entry = entry;
			return;
		}
		if (desc > len - sizeof(nh) - name) {
			return;
		}
		p += sizeof(nh) + name + desc;
		len -= sizeof(nh) + name + desc;
	}
}

static bool is_in_segment(const struct boot_image *img, uint64_t gpa)
{
	for (unsigned i = 0; i < img->nsegments; i++) {
		if (gpa >= img->segment[i].gpa && gpa - img->segment[i].gpa < img->segment[i].filesz) {
			return true;
		}
	}
	return false;
}

/* Kernels that map themselves elsewhere name a virtual address, or a physical one that is in no segment's virtual range: as other loaders have it. */
static uint64_t physical_entry(const struct phdr *ph, uint64_t entry, uint64_t before)
{
	bool is_here = ph->type == PT_LOAD && entry >= ph->vaddr && entry - ph->vaddr < ph->memsz;

	return is_here && before == entry ? entry - ph->vaddr + ph->paddr : before;
}

static const char *parse(struct x86_elf *elf, struct boot_image *img, bool with_notes)
{
	uint8_t table[PHDRS_MAX * sizeof(Elf64_Phdr)], notes[NOTES_LEN_MAX];
	struct headers h;
	const char *wrong = read_header(elf, &h, img);
	uint64_t entry = elf->entry;

	if (wrong) {
		return wrong;
	}
	if (h.phnum == 0 || h.phnum > PHDRS_MAX || !is_within(h.phoff, (uint64_t)h.phnum * h.phentsize, img->kernel_len)) {
		return "truncated or broken: the program headers are not in the file";
	}
	if (boot_read_kernel(img, h.phoff, table, (uint64_t)h.phnum * h.phentsize) < 0) {
		return UNREADABLE;
	}
	for (uint32_t i = 0; i < h.phnum; i++) {
		struct phdr ph = read_phdr(elf, table + (size_t)i * h.phentsize);

		if ((ph.type == PT_LOAD || ph.type == PT_NOTE) && !is_within(ph.offset, ph.filesz, img->kernel_len)) {
			return "truncated: a segment is not in the file";
		}
		if (ph.type == PT_NOTE && with_notes && !elf->pvh_entry) {
			uint64_t len = ph.filesz < sizeof(notes) ? ph.filesz : sizeof(notes);

			if (boot_read_kernel(img, ph.offset, notes, len) < 0) {
				return UNREADABLE;
			}
			read_notes(elf, notes, len);
		}
		entry = physical_entry(&ph, elf->entry, entry);
		wrong = ph.type == PT_LOAD ? add_segment(img, &ph) : NULL;
		if (wrong) {
			return wrong;
		}
	}
	if (img->nsegments == 0) {
		return "ELF executable without anything to load";
	}
	if (elf->pvh_entry && !is_in_segment(img, elf->pvh_entry)) {
		return "PVH entry point outside the kernel";
	}
	elf->entry = entry;
	img->entry = elf->pvh_entry ? elf->pvh_entry : elf->entry;
	return NULL;
}

int x86_elf_parse(struct x86_elf *elf, struct boot_image *img, bool with_notes, char *err, size_t err_len)
{
	const char *wrong;

	*elf = (struct x86_elf){.entry = 0};
	wrong = parse(elf, img, with_notes);
	if (wrong) {
		snprintf(err, err_len, "%s", wrong);
		return -EINVAL;
	}
	return 0;
}
