package dex

import "encoding/binary"

// A cursor reads b from off on. After a read that failed all are 0, and err
// says where the first one was.
type cursor struct {
	b   []byte
	off int
	err error
}

// bytes returns the next n, or nil.
func (c *cursor) bytes(n int) []byte {
	if c.err != nil {
		return nil
	}
	if c.off < 0 || n < 0 || n > len(c.b) || c.off > len(c.b)-n {
		c.err = bad(c.off, "%d bytes pass the end of the file", n)
		return nil
	}
	c.off += n
	return c.b[c.off-n : c.off]
}

func (c *cursor) u8() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// uleb reads an unsigned LEB128 of at most five bytes.
func (c *cursor) uleb() uint32 {
	at, v := c.off, uint32(0)
	for shift := 0; shift < 35; shift += 7 {
		b := c.u8()
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
	if c.err == nil {
		c.err = bad(at, "number of more than 32 bits")
	}
	return 0
}

// sleb reads a signed LEB128 of at most five bytes.
func (c *cursor) sleb() int32 {
	at, v := c.off, uint32(0)
	for shift := 0; shift < 35; shift += 7 {
		b := c.u8()
		v |= uint32(b&0x7f) << shift
		if b&0x80 == 0 {
			if b&0x40 != 0 && shift+7 < 32 {
				v |= ^uint32(0) << (shift + 7)
			}
			return int32(v)
		}
	}
	if c.err == nil {
		c.err = bad(at, "number of more than 32 bits")
	}
	return 0
}

// index reads an unsigned LEB128 that must be below n.
func (c *cursor) index(n int, what string) int {
	at := c.off
	i := c.uleb()
	if c.err == nil && int64(i) >= int64(n) {
		c.err = bad(at, "%s %d of %d", what, i, n)
	}
	if c.err != nil {
		return 0
	}
	return int(i)
}
