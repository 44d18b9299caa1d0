/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot 1 kernel for tests of how a guest ends, in place of a Linux that would take seconds to get there. It says "ready" on the serial port; then each byte of its
 * command line is one thing to do:
 *   xN  write the byte N to the exit port      k  reset through port 0x64, as it is done with a keyboard controller
 *   p   power off                              a  reset through ACPI's register
 *   s   spin for ever                          t  triple fault
 *   h   halt for ever: nothing wakes it        l  write 128 KiB to the serial port, in lines
 * At the end of the line it powers off.
 */
	.set MAGIC, 0x1badb002
	.set FLAGS, 2 /* memory information, and with it the command line */
	/* As in boot/x86_layout.h. */
	.set PORT_EXIT, 0xf4
	.set PORT_I8042, 0x64
	.set I8042_INPUT_FULL, 2
	.set I8042_RESET, 0xfe
	.set PORT_SERIAL, 0x3f8
	.set PORT_SLEEP_CONTROL, 0x600
	.set SLEEP_S5, 0x34
	.set PORT_RESET, 0x602
	.set RESET_VALUE, 1
	.section .text
	.code32
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.globl _start
_start:
	movl $stack_top, %esp
	cld
	movl 16(%ebx), %ebx /* cmdline */
	movl $ready, %esi
	movl $ready_len, %ecx
	movw $PORT_SERIAL, %dx
	rep outsb
	movl %ebx, %esi
next:
	lodsb
	cmpb $'x', %al
	je exit_port
	cmpb $'k', %al
	je keyboard
	cmpb $'a', %al
	je acpi
	cmpb $'t', %al
	je triple_fault
	cmpb $'s', %al
	je spin
	cmpb $'h', %al
	je halt
	cmpb $'l', %al
	je lines
	cmpb $'p', %al
	je power_off
	testb %al, %al
	jnz next
power_off:
	movb $SLEEP_S5, %al
	movw $PORT_SLEEP_CONTROL, %dx
	outb %al, %dx
halt:
	hlt
	jmp halt

exit_port:
	lodsb
	outb %al, $PORT_EXIT
	jmp next

keyboard:
	inb $PORT_I8042, %al
	testb $I8042_INPUT_FULL, %al
	jnz keyboard
	movb $I8042_RESET, %al
	outb %al, $PORT_I8042
	jmp halt

lines:
	movl %esi, %ebx
	movw $PORT_SERIAL, %dx
	movl $4096, %edi
1:	movl $line, %esi
	movl $line_len, %ecx
	rep outsb
	decl %edi
	jnz 1b
	movl %ebx, %esi
	jmp next

acpi:
	movb $RESET_VALUE, %al
	movw $PORT_RESET, %dx
	outb %al, %dx
	jmp halt

triple_fault:
	lidt no_idt
	int3

spin:
	jmp spin

	.section .data
ready: .ascii "ready\n"
	.set ready_len, . - ready
line: .ascii "a line of 32 bytes, many times.\n"
	.set line_len, . - line
no_idt:	.word 0
	.long 0
	.section .bss
	.align 16
	.skip 4096
stack_top:
