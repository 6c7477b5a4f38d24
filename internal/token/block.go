package token

import "encoding/binary"

// block is 16 bytes, read big-endian. Claims are a block of which the last two bytes are zero.
type block struct{ hi, lo uint64 }

func getBlock(b []byte) block {
	return block{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (b block) put(to []byte) {
	binary.BigEndian.PutUint64(to, b.hi)
	binary.BigEndian.PutUint64(to[8:], b.lo)
}

// getClaims reads the 14 bytes of claims.
func getClaims(b []byte) block {
	return block{binary.BigEndian.Uint64(b), uint64(binary.BigEndian.Uint32(b[8:]))<<32 | uint64(binary.BigEndian.Uint16(b[12:]))<<16}
}

// putClaims writes the first 14 bytes.
func (b block) putClaims(to []byte) {
	binary.BigEndian.PutUint64(to, b.hi)
	binary.BigEndian.PutUint32(to[8:], uint32(b.lo>>32))
	binary.BigEndian.PutUint16(to[12:], uint16(b.lo>>16))
}

// truncate drops the two bytes that claims don't have.
func (b block) truncate() block { return block{b.hi, b.lo &^ 0xffff} }

func (b block) xor(o block) block { return block{b.hi ^ o.hi, b.lo ^ o.lo} }

// dbl doubles in GF(2^128) (RFC 5297, 2.3), in constant time.
func (b block) dbl() block {
	const poly = 0x87
	return block{b.hi<<1 | b.lo>>63, b.lo<<1 ^ -(b.hi>>63)&poly}
}

// pack lays claims out: campaign, link, subject.
func (c Claims) pack() block {
	return block{uint64(c.Campaign)<<32 | uint64(c.Link)<<16 | c.Subject>>48, c.Subject << 16}
}

func (b block) unpack() Claims {
	return Claims{Campaign: uint32(b.hi >> 32), Link: uint16(b.hi >> 16), Subject: b.hi<<48 | b.lo>>16}
}
