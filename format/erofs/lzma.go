package erofs

import (
	"encoding/binary"
	"errors"

	lz4raw "mios/internal/lz4"
)

// MicroLZMA is LZMA without a header: the first byte, which is always 0 in
// LZMA, is the complement of the properties; how long the data is says the one who
// wants it (xz's lzma_microlzma_decoder). LZMA is that of xz's lzma-file-format.txt
// and the LZMA SDK's specification.

const (
	probInit     = 1 << 10
	probBits     = 11
	moveBits     = 5
	rangeTop     = 1 << 24
	states       = 12
	posStates    = 16
	lenStates    = 4
	endPosModel  = 14
	fullDistance = 128
	alignBits    = 4
	minMatch     = 2
)

// lenCoder holds the probabilities of lengths.
type lenCoder struct {
	choice, choice2 uint16
	low, mid        [posStates][8]uint16
	high            [256]uint16
}

// An unlzma unpacks one piece of data.
type unlzma struct {
	src   []byte
	at    int
	short bool // src ended too soon
	rng   uint32
	code  uint32

	lc, lp, pb uint

	isMatch, isRep0Long              [states][posStates]uint16
	isRep, isRepG0, isRepG1, isRepG2 [states]uint16
	slots                            [lenStates][64]uint16
	special                          [fullDistance]uint16
	align                            [1 << alignBits]uint16
	length, repLength                lenCoder
	literals                         []uint16
}

var errLZMAHeader = errors.New("LZMA: the data does not begin as it should")

// unpackLZMA unpacks MicroLZMA into dst, which it must fill.
func unpackLZMA(dst, src []byte) error {
	if len(src) < 5 {
		return errLZMAHeader
	}
	props := uint(^src[0])
	if props >= 9*5*5 {
		return errLZMAHeader
	}
	u := &unlzma{src: src, at: 5, rng: 1<<32 - 1, code: binary.BigEndian.Uint32(src[1:])}
	u.lc, u.lp, u.pb = props%9, props/9%5, props/45
	if u.lc+u.lp > 4 {
		return errLZMAHeader // lzma_microlzma_decoder takes no more
	}
	u.reset()
	if !u.run(dst) || u.short {
		return errData
	}
	return nil
}

func (u *unlzma) reset() {
	u.literals = make([]uint16, 0x300<<(u.lc+u.lp))
	setAll(u.literals)
	for i := range u.isMatch {
		setAll(u.isMatch[i][:])
		setAll(u.isRep0Long[i][:])
	}
	for i := range u.slots {
		setAll(u.slots[i][:])
	}
	for _, p := range [][]uint16{u.isRep[:], u.isRepG0[:], u.isRepG1[:], u.isRepG2[:], u.special[:], u.align[:]} {
		setAll(p)
	}
	for _, l := range []*lenCoder{&u.length, &u.repLength} {
		l.choice, l.choice2 = probInit, probInit
		setAll(l.high[:])
		for i := range l.low {
			setAll(l.low[i][:])
			setAll(l.mid[i][:])
		}
	}
}

func setAll(p []uint16) {
	for i := range p {
		p[i] = probInit
	}
}

// normalize keeps the range wide enough.
func (u *unlzma) normalize() {
	if u.rng < rangeTop {
		u.rng <<= 8
		if u.at < len(u.src) {
			u.code = u.code<<8 | uint32(u.src[u.at])
		} else {
			u.code <<= 8
			u.short = true
		}
		u.at++
	}
}

func (u *unlzma) bit(p *uint16) uint32 {
	u.normalize()
	v := uint32(*p)
	if bound := u.rng >> probBits * v; u.code < bound {
		u.rng = bound
		*p = uint16(v + (1<<probBits-v)>>moveBits)
		return 0
	} else {
		u.rng -= bound
		u.code -= bound
		*p = uint16(v - v>>moveBits)
		return 1
	}
}

// direct reads n bits that are as often 0 as 1.
func (u *unlzma) direct(n uint) uint32 {
	v := uint32(0)
	for range n {
		u.normalize()
		u.rng >>= 1
		u.code -= u.rng
		mask := -(u.code >> 31)
		u.code += u.rng & mask
		v = v<<1 + mask + 1
	}
	return v
}

// tree reads n bits, the highest first.
func (u *unlzma) tree(p []uint16, n uint) uint32 {
	m := uint32(1)
	for range n {
		m = m<<1 | u.bit(&p[m])
	}
	return m - 1<<n
}

// reverse reads n bits, the lowest first.
func (u *unlzma) reverse(p []uint16, n uint) uint32 {
	m, v := uint32(1), uint32(0)
	for i := range n {
		b := u.bit(&p[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

func (u *unlzma) len(l *lenCoder, pos uint32) int {
	if u.bit(&l.choice) == 0 {
		return minMatch + int(u.tree(l.low[pos][:], 3))
	}
	if u.bit(&l.choice2) == 0 {
		return minMatch + 8 + int(u.tree(l.mid[pos][:], 3))
	}
	return minMatch + 16 + int(u.tree(l.high[:], 8))
}

// literal reads a byte. After a match, that which the match would go on with
// is part of its model.
func (u *unlzma) literal(dst []byte, d int, state, rep0 uint32) byte {
	before := uint32(0)
	if d > 0 {
		before = uint32(dst[d-1])
	}
	i := (uint32(d)&(1<<u.lp-1))<<u.lc + before>>(8-u.lc)
	p := u.literals[0x300*i:][:0x300]
	m := uint32(1)
	if state >= 7 {
		match := uint32(dst[d-int(rep0)-1])
		for m < 0x100 {
			want := match >> 7 & 1
			match <<= 1
			b := u.bit(&p[(1+want)<<8+m])
			m = m<<1 | b
			if b != want {
				break
			}
		}
	}
	for m < 0x100 {
		m = m<<1 | u.bit(&p[m])
	}
	return byte(m)
}

// distance reads how far a match of n bytes lies back, less 1.
func (u *unlzma) distance(n int) uint32 {
	slot := u.tree(u.slots[min(n-minMatch, lenStates-1)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := uint(slot>>1 - 1)
	d := (2 | slot&1) << bits
	if slot < endPosModel {
		return d + u.reverse(u.special[d-slot:], bits)
	}
	d += u.direct(bits-alignBits) << alignBits
	return d + u.reverse(u.align[:], alignBits)
}

// run fills dst. It is not ok if the data leads elsewhere.
func (u *unlzma) run(dst []byte) (ok bool) {
	state := uint32(0)
	var rep [4]uint32
	for d := 0; d < len(dst) && !u.short; {
		pos := uint32(d) & (1<<u.pb - 1)
		if u.bit(&u.isMatch[state][pos]) == 0 {
			if state >= 7 && int(rep[0]) >= d {
				return false
			}
			dst[d] = u.literal(dst, d, state, rep[0])
			d++
			state = afterLiteral(state)
			continue
		}
		n := 0
		if u.bit(&u.isRep[state]) == 0 {
			n = u.len(&u.length, pos)
			rep = [4]uint32{u.distance(n), rep[0], rep[1], rep[2]}
			state = after(state, 7)
		} else if n, state = u.repeat(&rep, state, pos); n == 0 {
			n = 1
		}
		if int64(rep[0]) >= int64(d) {
			return false
		}
		n = min(n, len(dst)-d) // a part may be wanted
		lz4raw.CopyMatch(dst, d, int(rep[0])+1, n)
		d += n
	}
	return true
}

// repeat reads a match as far back as one of the last four: its length, 0 for a
// single byte, and the state after it.
func (u *unlzma) repeat(rep *[4]uint32, state, pos uint32) (int, uint32) {
	switch {
	case u.bit(&u.isRepG0[state]) == 0:
		if u.bit(&u.isRep0Long[state][pos]) == 0 {
			return 0, after(state, 9)
		}
	case u.bit(&u.isRepG1[state]) == 0:
		rep[0], rep[1] = rep[1], rep[0]
	case u.bit(&u.isRepG2[state]) == 0:
		rep[0], rep[1], rep[2] = rep[2], rep[0], rep[1]
	default:
		rep[0], rep[1], rep[2], rep[3] = rep[3], rep[0], rep[1], rep[2]
	}
	return u.len(&u.repLength, pos), after(state, 8)
}

// afterLiteral is the state after a byte.
func afterLiteral(state uint32) uint32 {
	switch {
	case state < 4:
		return 0
	case state < 10:
		return state - 3
	}
	return state - 6
}

// after is the state after something else: kind if bytes were last, else what
// stands for that.
func after(state, kind uint32) uint32 {
	switch {
	case state < 7:
		return kind
	case kind == 7:
		return 10
	}
	return 11
}
