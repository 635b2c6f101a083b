package otazip

import (
	"bytes"

	"mios/internal/protowire"
)

// A message is one of the package's protocol buffers, all of proto3: fields
// stand in the order of their numbers, and those of value zero do not stand
// there.
type message interface {
	field(x *protowire.Field) (known bool, err error)
	encode() []byte
}

// errType is the error of a field of another wire type than the schema's.
type errType struct{ num protowire.Number }

// decode reads a message strictly: what it accepts, encode gives back byte for
// byte, fields that it does not know included.
func decode(entry string, b []byte, m message, rest *[]byte) error {
	left := b
	for len(left) > 0 {
		off := int64(len(b) - len(left))
		x, err := protowire.Next(left)
		if err != nil {
			return bad(entry, off, "field %d: %v", x.Num, err)
		}
		known, err := m.field(&x)
		if err != nil {
			return bad(entry, off, "field %d: %v", x.Num, err)
		}
		if !known {
			*rest = append(*rest, x.Raw...)
		}
		left = left[len(x.Raw):]
	}
	if got := m.encode(); !bytes.Equal(got, b) {
		i := 0
		for i < len(got) && i < len(b) && got[i] == b[i] {
			i++
		}
		return bad(entry, int64(i), "not in canonical encoding: a field twice, out of order, or in more bytes than it needs")
	}
	return nil
}

func (e errType) Error() string { return "another wire type than the schema's" }

func want(x *protowire.Field, t protowire.Type) error {
	if x.Type != t {
		return errType{x.Num}
	}
	return nil
}

func text(x *protowire.Field, to *string) (bool, error) {
	*to = string(x.B)
	return true, want(x, protowire.Bytes)
}

func texts(x *protowire.Field, to *[]string) (bool, error) {
	*to = append(*to, string(x.B))
	return true, want(x, protowire.Bytes)
}

func boolean(x *protowire.Field, to *bool) (bool, error) {
	*to = x.U == 1
	return true, want(x, protowire.Varint)
}

func number(x *protowire.Field, to *int64) (bool, error) {
	*to = int64(x.U)
	return true, want(x, protowire.Varint)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendBytes(b, num, s)
}

func appendTexts(b []byte, num protowire.Number, list []string) []byte {
	for _, s := range list {
		b = protowire.AppendBytes(b, num, s)
	}
	return b
}

func appendNumber(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendUint(b, num, uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendUint(b, num, 1)
}
