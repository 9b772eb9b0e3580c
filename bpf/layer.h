/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What all parsers share: their contract. A parser reads one layer at packet->offset, notes in
 * *packet what it learnt, moves packet->offset behind the layer, and returns what follows (an
 * EtherType, an IP protocol) or STOP if nothing that follows can be read. No parser knows a map, a
 * knob or another layer.
 *
 * Cut and malformed packets are counted as what they are as far as that is known: errors has a bit
 * per enum error_kind.
 */
#ifndef TELEGEN_LAYER_H
#define TELEGEN_LAYER_H

#include "frame.h"
#include "types.h"

#define STOP (-1)

static __always_inline int packet_error(struct packet *packet, enum error_kind kind)
{
	packet->errors |= 1 << kind;
	return STOP;
}

#endif
