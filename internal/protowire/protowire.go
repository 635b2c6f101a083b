// Package protowire reads and writes fields of protocol buffers
// (https://protobuf.dev/programming-guides/encoding/): what a message of our
// own hand needs. Google's package of this name registers with the rest of its
// module, which reads the program's own file whenever it starts.
package protowire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// A Number names a field, from 1 on.
type Number int32

// A Type says how a field is written.
type Type int8

// The types.
const (
	Varint     Type = 0
	Fixed64    Type = 1
	Bytes      Type = 2
	StartGroup Type = 3
	EndGroup   Type = 4
	Fixed32    Type = 5
)

// maxDepth bounds groups within each other.
const maxDepth = 100

var (
	errNumber   = errors.New("invalid field number")
	errOverflow = errors.New("variable length integer overflow")
	errGroup    = errors.New("mismatching end group marker")
	errDepth    = errors.New("too many groups within each other")
)

// A Field is one field of a message.
type Field struct {
	Num   Number
	Type  Type
	Raw   []byte // all of it
	Value int    // where in Raw the value begins, after tag and length
	U     uint64 // the value of a varint or a fixed one
	B     []byte // of one that is Bytes; part of Raw
}

// Next reads the field that b, which is not empty, begins with. With an error,
// Num is 0 if it is about the tag.
func Next(b []byte) (Field, error) { return next(b, maxDepth) }

func next(b []byte, depth int) (Field, error) {
	tag, n, err := varint(b)
	if err != nil {
		return Field{}, err
	}
	num := tag >> 3
	if num < 1 || num > math.MaxInt32 {
		return Field{}, errNumber
	}
	f := Field{Num: Number(num), Type: Type(tag & 7), Value: n}
	end := n
	switch f.Type {
	case Varint:
		var k int
		f.U, k, err = varint(b[n:])
		end += k
	case Fixed32:
		if end += 4; end <= len(b) {
			f.U = uint64(binary.LittleEndian.Uint32(b[n:]))
		}
	case Fixed64:
		if end += 8; end <= len(b) {
			f.U = binary.LittleEndian.Uint64(b[n:])
		}
	case Bytes:
		size, k, e := varint(b[n:])
		if e == nil && size > uint64(len(b)-n-k) {
			e = io.ErrUnexpectedEOF
		}
		if err = e; err == nil {
			f.Value += k
			end = f.Value + int(size)
			f.B = b[f.Value:end]
		}
	case StartGroup:
		end, err = group(b, n, f.Num, depth)
	case EndGroup:
		err = errGroup
	default:
		err = fmt.Errorf("wire type %d, which there is not", f.Type)
	}
	if err == nil && end > len(b) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return f, err
	}
	f.Raw = b[:end]
	return f, nil
}

// group returns where the group ends that begins before b[at].
func group(b []byte, at int, num Number, depth int) (int, error) {
	if depth == 0 {
		return 0, errDepth
	}
	for {
		tag, n, err := varint(b[at:])
		if err != nil {
			return 0, err
		}
		if Type(tag&7) == EndGroup {
			if tag>>3 != uint64(num) {
				return 0, errGroup
			}
			return at + n, nil
		}
		f, err := next(b[at:], depth-1)
		if err != nil {
			return 0, err
		}
		at += len(f.Raw)
	}
}

func varint(b []byte) (uint64, int, error) {
	v, n := binary.Uvarint(b)
	switch {
	case n < 0 || n == 0 && len(b) >= binary.MaxVarintLen64:
		return 0, 0, errOverflow
	case n == 0:
		return 0, 0, io.ErrUnexpectedEOF
	}
	return v, n, nil
}

// AppendTag appends what a field begins with.
func AppendTag(b []byte, num Number, t Type) []byte {
	return binary.AppendUvarint(b, uint64(num)<<3|uint64(t))
}

// AppendUint appends a field that is a varint.
func AppendUint(b []byte, num Number, v uint64) []byte {
	return binary.AppendUvarint(AppendTag(b, num, Varint), v)
}

// AppendUints appends varints with the numbers from 1 on. As proto3 wants it,
// none of those that are 0.
func AppendUints(b []byte, values ...uint64) []byte {
	for i, v := range values {
		if v != 0 {
			b = AppendUint(b, Number(1+i), v)
		}
	}
	return b
}

// AppendFixed32 appends a field of four bytes.
func AppendFixed32(b []byte, num Number, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(AppendTag(b, num, Fixed32), v)
}

// AppendBytes appends a string, bytes or a message.
func AppendBytes[T ~string | ~[]byte](b []byte, num Number, v T) []byte {
	b = binary.AppendUvarint(AppendTag(b, num, Bytes), uint64(len(v)))
	return append(b, v...)
}
