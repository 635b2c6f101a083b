package puffin

import (
	"encoding/binary"
	"fmt"
)

// A huffer makes deflate streams of puffed ones.
type huffer struct {
	in                          []byte
	pos                         int
	out                         bitWriter
	literals, distances, helper code
	fixedLiterals, fixedDist    *code
}

func newHuffer() *huffer {
	h := new(huffer)
	h.fixedLiterals, h.fixedDist = fixedCodes()
	return h
}

// Huff appends the deflate stream that was puffed, and zeros up to a whole byte.
func Huff(dst, puffed []byte) ([]byte, error) {
	h := newHuffer()
	h.out = bitWriter{out: dst}
	if err := h.huff(puffed); err != nil {
		return dst, err
	}
	h.out.write(0, -h.out.n&7)
	return h.out.out, nil
}

func (h *huffer) bad(format string, args ...any) error {
	return &FormatError{int64(h.pos), "puffed stream: " + fmt.Sprintf(format, args...)}
}

// take returns the next n bytes.
func (h *huffer) take(n int) ([]byte, error) {
	if n > len(h.in)-h.pos {
		return nil, h.bad("%d bytes left, want %d", len(h.in)-h.pos, n)
	}
	h.pos += n
	return h.in[h.pos-n : h.pos], nil
}

// huff writes the bits of puffed to out.
func (h *huffer) huff(puffed []byte) error {
	h.in, h.pos = puffed, 0
	for h.pos < len(h.in) {
		if err := h.block(); err != nil {
			return err
		}
	}
	return nil
}

func (h *huffer) block() error {
	b, err := h.take(2)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(b)) + 1
	if n > mostHeader {
		return h.bad("block header of %d bytes", n)
	}
	header, err := h.take(n)
	if err != nil {
		return err
	}
	kind := header[0] >> headerType & 3
	h.out.write(uint64(header[0]>>7|kind<<1), 3)
	if kind != blockDynamic && n != 1 {
		return h.bad("block header of %d bytes, want 1", n)
	}
	switch kind {
	case blockStored:
		return h.stored(header[0] & headerSkipped)
	case blockFixed:
		return h.codes(h.fixedLiterals, h.fixedDist)
	case blockDynamic:
		if err := h.dynamic(header[1:]); err != nil {
			return err
		}
		return h.codes(&h.literals, &h.distances)
	}
	return h.bad("block of type 3")
}

// A token is one thing in a puffed block.
type token struct {
	literals         []byte // if there are any
	length, distance int    // else; without a distance the block ends
}

func (h *huffer) next() (token, error) {
	b, err := h.take(1)
	if err != nil {
		return token{}, err
	}
	n := int(b[0] &^ matchMark)
	if b[0]&matchMark == 0 {
		if n == escape {
			if b, err = h.take(2); err != nil {
				return token{}, err
			}
			n += int(binary.BigEndian.Uint16(b))
		}
		lits, err := h.take(n + 1)
		return token{literals: lits}, err
	}
	if n == escape {
		if b, err = h.take(1); err != nil {
			return token{}, err
		}
		n += int(b[0])
	}
	n += 3
	switch {
	case n == endLength:
		return token{}, nil
	case n > endLength:
		return token{}, h.bad("match of %d bytes", n)
	}
	if b, err = h.take(2); err != nil {
		return token{}, err
	}
	d := int(binary.BigEndian.Uint16(b)) + 1
	if d > 1<<15 {
		return token{}, h.bad("match %d bytes back", d)
	}
	return token{length: n, distance: d}, nil
}

func (h *huffer) stored(skipped byte) error {
	n := -h.out.n & 7
	if skipped>>n != 0 {
		return h.bad("stored block: %#x is more than %d bits", skipped, n)
	}
	h.out.write(uint64(skipped), n)
	t, err := h.next()
	if err != nil {
		return err
	}
	size := len(t.literals)
	if t.length != 0 || size > 1<<16-1 {
		return h.bad("stored block: wants at most 65535 literals")
	}
	h.out.write(uint64(size)|uint64(^uint16(size))<<16, 32)
	if size == 0 {
		return nil
	}
	h.out.out = append(h.out.out, t.literals...)
	if t, err = h.next(); err == nil && (t.length != 0 || t.literals != nil) {
		err = h.bad("stored block does not end")
	}
	return err
}

// dynamic writes the code lengths that b has.
func (h *huffer) dynamic(b []byte) error {
	if len(b) < 3 {
		return h.bad("block header ends early")
	}
	nLiterals, nDistances, nHelper := int(b[0])+257, int(b[1])+1, int(b[2])+4
	if nLiterals > maxLiterals || nDistances > maxDistances || nHelper > len(codeOrder) {
		return h.bad("%d codes of literals and lengths, %d of distances, %d of lengths", nLiterals, nDistances, nHelper)
	}
	h.out.write(uint64(b[0])|uint64(b[1])<<5|uint64(b[2])<<10, 14)
	if b = b[3:]; len(b) < (nHelper+1)/2 {
		return h.bad("block header ends early")
	}
	var lengths [maxLiterals + maxDistances]uint8
	for i := range nHelper {
		l := b[i/2] >> 4
		if i%2 == 1 {
			l = b[i/2] & 15
		}
		if l > 7 {
			return h.bad("code length of a code length is %d", l)
		}
		lengths[codeOrder[i]] = l
		h.out.write(uint64(l), 3)
	}
	b = b[(nHelper+1)/2:]
	if !h.helper.set(lengths[:19], false) {
		return h.bad("code lengths have too many short codes")
	}
	clear(lengths[:19])
	if err := h.lengths(lengths[:nLiterals+nDistances], b); err != nil {
		return err
	}
	if !h.literals.set(lengths[:nLiterals], false) || !h.distances.set(lengths[nLiterals:nLiterals+nDistances], false) {
		return h.bad("too many short codes")
	}
	return nil
}

// lengths writes what b says of code lengths, and sets them.
func (h *huffer) lengths(lengths []uint8, b []byte) error {
	i := 0
	for _, v := range b {
		s, more, bits, count, value := int(v), 0, 0, 1, uint8(v)
		if s >= 16 {
			for k := range repeats {
				if r := repeats[k]; s >= r.first {
					more, bits, count, value = s-r.first, r.bits, r.least+s-r.first, 0
					v = uint8(16 + k)
				}
			}
			if more >= 1<<bits {
				return h.bad("code length %#x", s)
			}
		}
		if count > len(lengths)-i || v == 16 && i == 0 {
			return h.bad("code length %d repeated %d times", i, count)
		}
		if v == 16 {
			value = lengths[i-1]
		}
		if h.helper.lengths[v] == 0 {
			return h.bad("code length %d has no code", v)
		}
		h.out.write(uint64(h.helper.codes[v]), uint(h.helper.lengths[v]))
		h.out.write(uint64(more), uint(bits))
		for range count {
			lengths[i] = value
			i++
		}
	}
	if i != len(lengths) {
		return h.bad("%d code lengths, want %d", i, len(lengths))
	}
	return nil
}

// codes writes what a block has up to its end.
func (h *huffer) codes(literals, distances *code) error {
	put := func(c *code, s int) bool {
		if s >= c.n || c.lengths[s] == 0 {
			return false
		}
		h.out.write(uint64(c.codes[s]), uint(c.lengths[s]))
		return true
	}
	for {
		t, err := h.next()
		if err != nil {
			return err
		}
		for _, c := range t.literals {
			if !put(literals, int(c)) {
				return h.bad("literal %#x has no code", c)
			}
		}
		if t.literals != nil {
			continue
		}
		if t.distance == 0 {
			if !put(literals, endOfBlock) {
				return h.bad("the end of the block has no code")
			}
			return nil
		}
		l, d := lengthCode(t.length), distanceCode(t.distance)
		if !put(literals, l+endOfBlock+1) {
			return h.bad("length %d has no code", t.length)
		}
		h.out.write(uint64(t.length-int(lengthBase[l])), uint(lengthBits[l]))
		if !put(distances, d) {
			return h.bad("distance %d has no code", t.distance)
		}
		h.out.write(uint64(t.distance-int(distanceBase[d])), uint(distanceBits[d]))
	}
}
