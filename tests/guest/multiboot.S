/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot 1 kernel of a screenful: says on the serial port what it was given (command line, modules with their first four bytes, memory), lets the PIT
 * interrupt it through the PIC, and leaves through the exit port: 21 when all was as it should be, 20 when not. With a command line that begins with "floo" it only
 * writes to the serial port, without a look at whether that is ready, for ever; with "wait" it sleeps before it leaves, until something comes from the serial port.
 */
	.set MAGIC, 0x1badb002
	.set FLAGS, 3 /* modules on pages, memory information */
	.section .text
	.code32
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.globl _start
_start:
	movl $stack_top, %esp
	cld
	cmpl $0x2badb002, %eax
	jne bad
	movl %ebx, %ebp
	movl (%ebp), %eax
	andl $0x4d, %eax /* memory, command line, modules, memory map */
	cmpl $0x4d, %eax
	jne bad

	movl $cmdline_is, %esi
	call puts
	movl 16(%ebp), %esi
	call puts
	call newline
	movl 16(%ebp), %esi
	cmpl $0x6f6f6c66, (%esi) /* "floo" */
	je flood

	movl 20(%ebp), %ecx /* mods_count */
	movl 24(%ebp), %edi /* mods_addr */
1:	testl %ecx, %ecx
	jz 2f
	movl $module_is, %esi
	call puts
	movl (%edi), %esi /* its first four bytes as text */
	movb (%esi), %al
	call putc
	movb 1(%esi), %al
	call putc
	movb 2(%esi), %al
	call putc
	movb 3(%esi), %al
	call putc
	movb $' ', %al
	call putc
	movl 8(%edi), %esi
	call puts
	call newline
	addl $16, %edi
	decl %ecx
	jmp 1b
2:
	/* Memory above 1 MiB must be what mem_upper says, in the map too. */
	movl 48(%ebp), %esi
	movl 44(%ebp), %ecx
	addl %esi, %ecx
3:	cmpl %ecx, %esi
	jae bad
	cmpl $0x100000, 4(%esi)
	je 4f
	addl (%esi), %esi
	addl $4, %esi
	jmp 3b
4:	movl 12(%esi), %eax
	shrl $10, %eax
	cmpl 8(%ebp), %eax
	jne bad

	/* IDT entry 0x20 -> tick, 0x24 -> typed; PIC at 0x20 with only IRQ 0 open; PIT at about 100 Hz. */
	movl $tick, %eax
	movl $idt + 0x20 * 8, %edi
	call set_gate
	movl $typed, %eax
	movl $idt + 0x24 * 8, %edi
	call set_gate
	lidt idtr
	movb $0x11, %al
	outb %al, $0x20
	movb $0x20, %al
	outb %al, $0x21
	movb $4, %al
	outb %al, $0x21
	movb $1, %al
	outb %al, $0x21
	movb $0xfe, %al
	outb %al, $0x21
	movb $0x34, %al
	outb %al, $0x43
	movb $0x9b, %al
	outb %al, $0x40
	movb $0x2e, %al
	outb %al, $0x40
	sti
5:	hlt
	cmpl $5, ticks
	jb 5b
	movl $ticks_came, %esi
	call puts
	movl 16(%ebp), %esi
	cmpl $0x74696177, (%esi) /* "wait" */
	jne 9f
	/* Only IRQ 4 is open now, and the UART tells of what has come. */
	movb $0xef, %al
	outb %al, $0x21
	movw $0x3fc, %dx
	movb $8, %al
	outb %al, %dx
	movw $0x3f9, %dx
	movb $1, %al
	outb %al, %dx
	movl $sleeps, %esi
	call puts
8:	cli
	cmpl $0, bytes
	jne 9f
	sti
	hlt
	jmp 8b
9:	movb $21, %al
	jmp leave_vm
bad:
	movl $wrong, %esi
	call puts
	movb $20, %al
leave_vm:
	outb %al, $0xf4
6:	hlt
	jmp 6b

flood:
	movw $0x3f8, %dx
	movl $line, %esi
	movl $line_len, %ecx
	rep outsb
	jmp flood

tick:
	pushl %eax
	incl ticks
	movb $0x20, %al
	outb %al, $0x20
	popl %eax
	iret

typed:
	pushl %eax
	pushl %edx
	movw $0x3f8, %dx
	inb %dx, %al
	incl bytes
	movb $0x20, %al
	outb %al, $0x20
	popl %edx
	popl %eax
	iret

/* An interrupt gate at edi, for eax. */
set_gate:
	movw %ax, (%edi)
	movw %cs, 2(%edi)
	movw $0x8e00, 4(%edi)
	shrl $16, %eax
	movw %ax, 6(%edi)
	ret

newline:
	movb $10, %al
putc:
	pushl %edx
	movw $0x3f8, %dx
	outb %al, %dx
	popl %edx
	ret
puts:
	lodsb
	testb %al, %al
	jz 7f
	call putc
	jmp puts
7:	ret

	.section .data
cmdline_is: .asciz "cmdline="
module_is: .asciz "module="
ticks_came: .asciz "ticks=5\n"
sleeps: .asciz "sleeps=1\n"
wrong: .asciz "wrong\n"
line: .ascii "a line of the flood, 0123456789\n"
	.set line_len, . - line
	.align 4
ticks: .long 0
bytes: .long 0
idtr:	.word 0x25 * 8 - 1
	.long idt
	.section .bss
	.align 8
idt:	.skip 0x25 * 8
	.align 16
	.skip 4096
stack_top:
