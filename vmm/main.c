/* SPDX-License-Identifier: MIT */
#include <stdio.h>

int main(void)
{
	printf("tinyvmm %s\n", TINYVMM_VERSION);
	return 0;
}
