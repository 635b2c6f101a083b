package payload

import "mios/internal/protowire"

// A field is one field of a message as it stands there.
type field struct {
	num protowire.Number
	typ protowire.Type
	off int64  // of its value
	raw []byte // tag and value
	u   uint64 // of a varint or fixed32
	b   []byte // of a length-delimited one
}

// each calls f for the fields of the message b, which stands at offset off.
func each(b []byte, off int64, f func(field) error) error {
	for len(b) > 0 {
		x, err := protowire.Next(b)
		switch {
		case err != nil && x.Num == 0:
			return bad(off, "tag: %v", err)
		case err != nil:
			return bad(off+int64(x.Value), "field %d: %v", x.Num, err)
		}
		if err := f(field{num: x.Num, typ: x.Type, off: off + int64(x.Value), raw: x.Raw, u: x.U, b: x.B}); err != nil {
			return err
		}
		b, off = b[len(x.Raw):], off+int64(len(x.Raw))
	}
	return nil
}

// want refuses the field if it has another wire type than t.
func (x *field) want(t protowire.Type) error {
	if x.typ != t {
		return bad(x.off, "field %d: wire type %d, want %d", x.num, x.typ, t)
	}
	return nil
}

// decoder fills a message; its methods note a zero value that is there.
type decoder struct{ r *rest }

func (d decoder) note(x *field, zero bool) {
	if zero {
		d.r.explicit |= 1 << uint(x.num)
	}
}

func (d decoder) keep(x *field) error {
	d.r.unknown = append(d.r.unknown, x.raw...)
	return nil
}

func number[T ~uint32 | ~uint64 | ~int64](d decoder, x *field, to *T) error {
	if err := x.want(protowire.Varint); err != nil {
		return err
	}
	*to = T(x.u)
	if uint64(*to) != x.u {
		return bad(x.off, "field %d: %d does not fit", x.num, x.u)
	}
	d.note(x, x.u == 0)
	return nil
}

func boolean(d decoder, x *field, to *bool) error {
	if err := x.want(protowire.Varint); err != nil {
		return err
	}
	if x.u > 1 {
		return bad(x.off, "field %d: %d is no truth value", x.num, x.u)
	}
	*to = x.u == 1
	d.note(x, x.u == 0)
	return nil
}

func octets[T ~string | ~[]byte](d decoder, x *field, to *T) error {
	if err := x.want(protowire.Bytes); err != nil {
		return err
	}
	*to = T(append([]byte(nil), x.b...))
	d.note(x, len(x.b) == 0)
	return nil
}

// message decodes a nested message with f into a new T.
func message[T any](x *field, to **T, f func(*T, []byte, int64) error) error {
	if err := x.want(protowire.Bytes); err != nil {
		return err
	}
	*to = new(T)
	return f(*to, x.b, x.off)
}

// messages is [message] for a repeated field.
func messages[T any](x *field, to *[]T, f func(*T, []byte, int64) error) error {
	if err := x.want(protowire.Bytes); err != nil {
		return err
	}
	var v T
	if err := f(&v, x.b, x.off); err != nil {
		return err
	}
	*to = append(*to, v)
	return nil
}

// encoder writes a message's fields in the order in which it is called.
type encoder struct {
	b []byte
	r *rest
}

// has reports whether the field must be written: always if it is not zero.
func (e *encoder) has(num protowire.Number, zero bool) bool {
	return !zero || e.r.explicit&(1<<uint(num)) != 0
}

func (e *encoder) uint(num protowire.Number, v uint64) {
	if e.has(num, v == 0) {
		e.b = protowire.AppendUint(e.b, num, v)
	}
}

func (e *encoder) bool(num protowire.Number, v bool) {
	var u uint64
	if v {
		u = 1
	}
	e.uint(num, u)
}

func (e *encoder) fixed32(num protowire.Number, v uint32) {
	if e.has(num, v == 0) {
		e.b = protowire.AppendFixed32(e.b, num, v)
	}
}

func (e *encoder) bytes(num protowire.Number, v []byte) {
	if e.has(num, len(v) == 0) {
		e.put(num, v)
	}
}

func (e *encoder) string(num protowire.Number, v string) { e.bytes(num, []byte(v)) }

// put writes a length-delimited field, empty or not.
func (e *encoder) put(num protowire.Number, v []byte) {
	e.b = protowire.AppendBytes(e.b, num, v)
}

func (e *encoder) extent(num protowire.Number, x *Extent) {
	if x != nil {
		e.put(num, x.encode())
	}
}

// end returns the message with the fields that this package does not know
// last, as AOSP's encoder has them.
func (e *encoder) end() []byte { return append(e.b, e.r.unknown...) }
