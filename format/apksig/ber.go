package apksig

import (
	"errors"
	"math/big"
)

// Numbers of ASN.1's universal tags.
const (
	tagInteger     = 2
	tagBitString   = 3
	tagOctetString = 4
	tagOID         = 6
	tagUTF8        = 12
	tagSequence    = 16
	tagSet         = 17
	tagPrintable   = 19
	tagTeletex     = 20
	tagIA5         = 22
)

// Classes of tags.
const (
	classUniversal = iota
	classApplication
	classContext
	classPrivate
)

// maxNesting bounds how deep values of indefinite length may lie in each other.
const maxNesting = 32

var errBER = errors.New("not ASN.1, or cut short")

// A berValue is one value of ASN.1, in BER: signatures of old packages are not
// always in DER, and Android takes them (AOSP tools/apksig,
// ByteBufferBerDataValueReader).
type berValue struct {
	class, tag  int
	constructed bool
	full, body  []byte // the whole encoding, and what is in it
}

// is reports whether v has that universal tag.
func (v *berValue) is(tag int) bool { return v.class == classUniversal && v.tag == tag }

// context reports whether v has that tag of the context.
func (v *berValue) context(tag int) bool { return v.class == classContext && v.tag == tag }

// readBER reads the first value of b, and returns what follows it.
func readBER(b []byte) (v berValue, rest []byte, err error) { return readNested(b, 0) }

func readNested(b []byte, depth int) (v berValue, rest []byte, err error) {
	if len(b) < 2 || depth > maxNesting {
		return v, nil, errBER
	}
	v = berValue{class: int(b[0] >> 6), tag: int(b[0] & 0x1f), constructed: b[0]&0x20 != 0}
	n := 1
	if v.tag == 0x1f {
		v.tag = 0
		for more := true; more; n++ {
			if n == len(b) || v.tag > 1<<24 {
				return v, nil, errBER
			}
			v.tag, more = v.tag<<7|int(b[n]&0x7f), b[n]&0x80 != 0
		}
	}
	if n == len(b) {
		return v, nil, errBER
	}
	length := int(b[n])
	n++
	switch {
	case length == 0x80:
		end, err := endOfContents(b[n:], v.constructed, depth)
		if err != nil {
			return v, nil, err
		}
		v.full, v.body = b[:n+end+2], b[n:n+end]
		return v, b[n+end+2:], nil
	case length > 0x80:
		count := length & 0x7f
		if count > 4 || count > len(b)-n {
			return v, nil, errBER
		}
		length = 0
		for _, c := range b[n : n+count] {
			length = length<<8 | int(c)
		}
		n += count
	}
	if length > len(b)-n {
		return v, nil, errBER
	}
	v.full, v.body = b[:n+length], b[n:n+length]
	return v, b[n+length:], nil
}

// endOfContents returns where the two zeros stand that end a value of
// indefinite length.
func endOfContents(b []byte, constructed bool, depth int) (int, error) {
	for rest := b; len(rest) >= 2; {
		if rest[0] == 0 && rest[1] == 0 {
			return len(b) - len(rest), nil
		}
		if !constructed {
			rest = rest[1:]
			continue
		}
		var err error
		if _, rest, err = readNested(rest, depth+1); err != nil {
			return 0, err
		}
	}
	return 0, errBER
}

// berList reads the values in b, at most so many.
func berList(b []byte, most int) ([]berValue, error) {
	var out []berValue
	for len(b) > 0 {
		if len(out) == most {
			return nil, errBER
		}
		v, rest, err := readBER(b)
		if err != nil {
			return nil, err
		}
		out, b = append(out, v), rest
	}
	return out, nil
}

// A berCursor reads the fields of a sequence one by one. After the first that
// is not as wanted, bad is set, and all that follows is empty.
type berCursor struct {
	b   []byte
	bad bool
}

// sequence returns the fields of v, which must be a sequence.
func (v *berValue) sequence() *berCursor { return &berCursor{v.body, !v.is(tagSequence)} }

// any reads the next field.
func (c *berCursor) any() berValue {
	if c.bad {
		return berValue{}
	}
	v, rest, err := readBER(c.b)
	if err != nil {
		c.b, c.bad = nil, true
		return berValue{}
	}
	c.b = rest
	return v
}

// next reads the next field, which must have that universal tag.
func (c *berCursor) next(tag int) berValue {
	v := c.any()
	if !c.bad && !v.is(tag) {
		*c = berCursor{bad: true}
		return berValue{}
	}
	return v
}

// optional reads the next field if it has that tag of the context.
func (c *berCursor) optional(tag int) (berValue, bool) {
	if c.bad || len(c.b) == 0 {
		return berValue{}, false
	}
	v, rest, err := readBER(c.b)
	if err != nil || !v.context(tag) {
		return berValue{}, false
	}
	c.b = rest
	return v, true
}

// oid reads an object identifier, as the bytes that encode it.
func (c *berCursor) oid() string { return string(c.next(tagOID).body) }

// algorithm reads an AlgorithmIdentifier, of which only the identifier counts.
func (c *berCursor) algorithm() string {
	v := c.next(tagSequence)
	in := v.sequence()
	oid := in.oid()
	c.bad = c.bad || in.bad
	return oid
}

// bigInt reads b as a two's complement number.
func bigInt(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}
