/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The job's knobs. They are constants before the verifier sees the program, so what a job does not
 * ask for is dead code that it removes: a job pays for its own options only.
 */
#ifndef TELEGEN_CONFIG_H
#define TELEGEN_CONFIG_H

#include "platform.h"

constant(struct config, config, );

/* The bucket of each packet length. */
constant(__u8, size_buckets, [SIZES]);

constant(struct service_slot, service_slots, [SERVICE_SLOTS]);

#endif
