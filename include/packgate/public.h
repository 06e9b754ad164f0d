/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_PUBLIC_H
#define PACKGATE_PUBLIC_H

/* Marks what libpackgate.so exports; user/lib/libpackgate.map lists the same names. */
#define PG_PUBLIC __attribute__((visibility("default")))

#endif
