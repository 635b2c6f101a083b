package puffin

import (
	"encoding/binary"
	"fmt"
)

// A puffed stream has, for each block, two bytes of a length less 1 and so many
// bytes of its header: the first of them as below, and after it the code lengths
// of a dynamic block; then literals, as their number less 1 and they themselves,
// and matches, as 0x80 and their length less 3, and two bytes of the distance
// less 1; then 0xff 0x81, which would be the length 259. Numbers from 127 on
// are 127 and the rest: two bytes of literals, one of a length. Numbers of two
// bytes have the high one first.
const (
	headerFinal    = 0x80 // the last block of a stream
	headerType     = 5    // where its type begins
	headerSkipped  = 0x1f // bits before a stored block's length
	matchMark      = 0x80
	escape         = 127
	endLength      = 259
	mostLiterals   = 1<<16 + 127
	mostHeader     = 1 + 3 + maxLiterals + maxDistances + 19
	blockStored    = 0
	blockFixed     = 1
	blockDynamic   = 2
	storedOverhead = 32
)

// A puffer puffs streams one after the other.
type puffer struct {
	in                          bitReader
	out                         []byte
	literals, distances, helper code
	fixedLiterals, fixedDist    *code

	fragile bool // some clients of AOSP read the end of this stream wrongly
}

func newPuffer() *puffer {
	p := new(puffer)
	p.fixedLiterals, p.fixedDist = fixedCodes()
	return p
}

// Puff appends the puffed form of deflate, which is blocks of a deflate stream,
// with or without the last one.
func Puff(dst, deflate []byte) ([]byte, error) {
	return newPuffer().puff(dst, deflate, 0, 8*int64(len(deflate)))
}

// puff appends the puffed form of bits start to end of data. No block takes
// less than 8 bits: fewer at the end are none.
func (p *puffer) puff(dst, data []byte, start, end int64) ([]byte, error) {
	p.in = bitReader{data, start, end}
	p.out, p.fragile = dst, false
	for p.in.left() >= 8 {
		if _, _, err := p.block(); err != nil {
			return dst, err
		}
	}
	return p.out, nil
}

func (p *puffer) bad(format string, args ...any) error {
	return &FormatError{p.in.pos / 8, fmt.Sprintf(format, args...)}
}

// take reads n bits, at most 16.
func (p *puffer) take(n uint) (int, error) {
	v := p.in.peek() & (1<<n - 1)
	if p.in.pos += int64(n); p.in.pos > p.in.end {
		return 0, p.bad("stream is cut off")
	}
	return int(v), nil
}

// block puffs a block, and says whether it is the last one, and stored.
func (p *puffer) block() (final, stored bool, err error) {
	v, err := p.take(3)
	if err != nil {
		return false, false, err
	}
	header := byte(v&1)<<7 | byte(v>>1)<<headerType
	switch v >> 1 {
	case blockStored:
		err = p.stored(header)
	case blockFixed:
		p.out = append(p.out, 0, 0, header)
		err = p.codes(p.fixedLiterals, p.fixedDist)
	case blockDynamic:
		if err = p.dynamic(header); err == nil {
			err = p.codes(&p.literals, &p.distances)
		}
	default:
		err = p.bad("block of type 3")
	}
	return v&1 != 0, v>>1 == blockStored, err
}

func (p *puffer) stored(header byte) error {
	skipped, err := p.take(uint(-p.in.pos & 7))
	if err != nil {
		return err
	}
	if skipped > headerSkipped {
		return p.bad("stored block: bits before it are %#x", skipped)
	}
	if p.in.left() < storedOverhead {
		return p.bad("stored block is cut off")
	}
	v := uint32(p.in.peek())
	n := int64(v & 0xffff)
	if v>>16^0xffff != v&0xffff {
		return p.bad("stored block: length is %#x and %#x", v&0xffff, v>>16)
	}
	p.in.pos += storedOverhead
	if p.in.left() < 8*n {
		return p.bad("stored block of %d bytes, %d left", n, p.in.left()/8)
	}
	p.out = append(p.out, 0, 0, header|byte(skipped))
	if n > 0 {
		p.out = appendLiterals(p.out, int(n))
		p.out = append(p.out, p.in.data[p.in.pos/8:][:n]...)
		p.in.pos += 8 * n
	}
	p.out = append(p.out, matchMark|escape, endLength-3-escape)
	return nil
}

// appendLiterals appends how many literals come.
func appendLiterals(b []byte, n int) []byte {
	if n <= escape {
		return append(b, byte(n-1))
	}
	return binary.BigEndian.AppendUint16(append(b, escape), uint16(n-1-escape))
}

// dynamic reads and appends a dynamic block's code lengths.
func (p *puffer) dynamic(header byte) error {
	v, err := p.take(14)
	if err != nil {
		return err
	}
	nLiterals, nDistances, nHelper := v&31+257, v>>5&31+1, v>>10+4
	if nLiterals > maxLiterals || nDistances > maxDistances {
		return p.bad("%d codes of literals and lengths, %d of distances", nLiterals, nDistances)
	}
	start := len(p.out)
	p.out = append(p.out, 0, 0, header, byte(v&31), byte(v>>5&31), byte(v>>10))
	var lengths [maxLiterals + maxDistances]uint8
	for i := range nHelper {
		l, err := p.take(3)
		if err != nil {
			return err
		}
		lengths[codeOrder[i]] = uint8(l)
		if i%2 == 0 {
			p.out = append(p.out, byte(l)<<4)
		} else {
			p.out[len(p.out)-1] |= byte(l)
		}
	}
	if !p.helper.set(lengths[:19], true) {
		return p.bad("code lengths have too many short codes")
	}
	clear(lengths[:19])
	n := nLiterals + nDistances
	for i := 0; i < n; {
		if i, err = p.length(&lengths, i, n); err != nil {
			return err
		}
	}
	if !p.literals.set(lengths[:nLiterals], true) || !p.distances.set(lengths[nLiterals:n], true) {
		return p.bad("too many short codes")
	}
	binary.BigEndian.PutUint16(p.out[start:], uint16(len(p.out)-start-3))
	return nil
}

// repeats are the codes that repeat a length: from which puffed byte on, with
// how many bits, how often at least.
var repeats = [3]struct{ first, bits, least int }{{16, 2, 3}, {20, 3, 3}, {28, 7, 11}}

// length reads and appends one code of code lengths, the next of which is i,
// and returns the one after.
func (p *puffer) length(lengths *[maxLiterals + maxDistances]uint8, i, n int) (int, error) {
	s, bits := p.helper.find(p.in.peek())
	if bits == 0 {
		return 0, p.bad("no such code of a code length")
	}
	if _, err := p.take(bits); err != nil {
		return 0, err
	}
	if s < 16 {
		lengths[i] = uint8(s)
		p.out = append(p.out, byte(s))
		return i + 1, nil
	}
	r := repeats[s-16]
	more, err := p.take(uint(r.bits))
	if err != nil {
		return 0, err
	}
	var value uint8
	if s == 16 {
		if i == 0 {
			return 0, p.bad("no code length to repeat")
		}
		value = lengths[i-1]
	}
	if r.least+more > n-i {
		return 0, p.bad("%d code lengths, %d left", r.least+more, n-i)
	}
	for range r.least + more {
		lengths[i] = value
		i++
	}
	p.out = append(p.out, byte(r.first+more))
	return i, nil
}

// codes puffs what is coded, up to the end of the block.
func (p *puffer) codes(literals, distances *code) error {
	limit := (p.in.end + 7) &^ 7 // of the bytes that a client reads
	from, n := 0, 0              // where literals begin in out, and how many
	for {
		v := p.in.peek()
		s, bits := literals.find(v)
		if bits == 0 {
			return p.bad("no such code of a literal or length")
		}
		if limit-p.in.pos < int64(literals.most) && uint8(bits) > literals.lengths[endOfBlock] {
			p.fragile = true
		}
		if p.in.pos += int64(bits); p.in.pos > p.in.end {
			return p.bad("stream is cut off")
		}
		if s < endOfBlock {
			if n == 0 {
				p.out = append(p.out, 0)
				from = len(p.out)
			}
			p.out = append(p.out, byte(s))
			if n++; n == mostLiterals {
				p.endLiterals(from, n)
				n = 0
			}
			continue
		}
		p.endLiterals(from, n)
		n = 0
		if s == endOfBlock {
			p.out = append(p.out, matchMark|escape, endLength-3-escape)
			return nil
		}
		if err := p.match(int(s)-endOfBlock-1, v>>bits, distances, limit); err != nil {
			return err
		}
	}
}

// match puffs a match whose length has this code; v is what comes after.
func (p *puffer) match(length int, v uint64, distances *code, limit int64) error {
	if length >= len(lengthBase) {
		return p.bad("no such code of a length")
	}
	extra := lengthBits[length]
	n := int(lengthBase[length]) + int(v&(1<<extra-1))
	v >>= extra
	p.in.pos += int64(extra)
	d, bits := distances.find(v)
	if bits == 0 || int(d) >= len(distanceBase) {
		return p.bad("no such code of a distance")
	}
	if limit-p.in.pos < int64(distances.most) {
		p.fragile = true
	}
	v >>= bits
	distance := int(distanceBase[d]) + int(v&(1<<distanceBits[d]-1))
	if p.in.pos += int64(bits) + int64(distanceBits[d]); p.in.pos > p.in.end {
		return p.bad("stream is cut off")
	}
	if n < 3+escape {
		p.out = append(p.out, matchMark|byte(n-3))
	} else {
		p.out = append(p.out, matchMark|escape, byte(n-3-escape))
	}
	p.out = binary.BigEndian.AppendUint16(p.out, uint16(distance-1))
	return nil
}

// endLiterals puts before n literals, which out ends with, how many they are.
func (p *puffer) endLiterals(from, n int) {
	switch {
	case n == 0:
	case n <= escape:
		p.out[from-1] = byte(n - 1)
	default:
		p.out = append(p.out, 0, 0)
		copy(p.out[from+2:], p.out[from:from+n])
		p.out[from-1] = escape
		binary.BigEndian.PutUint16(p.out[from:], uint16(n-1-escape))
	}
}
