/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of libuuid that the vfio selftests use, for architectures that Debian has no
 * packages for.
 */
#ifndef UUID_UUID_H
#define UUID_UUID_H

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef unsigned char uuid_t[16];

/* -1 if @text is not 36 characters of a UUID */
static inline int uuid_parse(const char *text, uuid_t uuid)
{
	if (strlen(text) != 36)
		return -1;
	for (int i = 0, byte = 0; i < 36; i++) {
		unsigned int value;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return -1;
			continue;
		}
		if (!isxdigit(text[i]) || !isxdigit(text[i + 1]) ||
		    sscanf(text + i, "%2x", &value) != 1)
			return -1;
		uuid[byte++] = value;
		i++;
	}
	return 0;
}

#endif /* UUID_UUID_H */
