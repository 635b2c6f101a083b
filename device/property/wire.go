package property

import (
	"encoding/binary"
	"fmt"
	"io"

	"mios"
)

// Commands: a little-endian uint32, then strings, each a little-endian uint32
// length and its bytes. cmdSet is AOSP's PROP_MSG_SETPROP2
// (bionic/libc/bionic/system_property_set.cpp), so a program that is linked
// with bionic can set properties. AOSP reads through shared memory; the other
// three stand for that.
const (
	cmdSet  = 0x00020001
	cmdGet  = 0x4d490001
	cmdList = 0x4d490002
	cmdWait = 0x4d490003
)

// Answers, AOSP's PROP_SUCCESS and PROP_ERROR_* (sys/_system_properties.h).
const (
	statusSuccess      = 0
	statusReadCmd      = 0x0004
	statusReadData     = 0x0008
	statusReadOnly     = 0x000b
	statusInvalidName  = 0x0010
	statusInvalidValue = 0x0014
	statusPermission   = 0x0018
	statusInvalidCmd   = 0x001b
	statusControl      = 0x0020
	statusSetFailed    = 0x0024
)

const (
	maxString  = 64 << 10 // bytes of a name or value on the wire
	maxStrings = 1 << 17  // strings in one answer
)

// status turns an answer that is not success into an error.
func status(code uint32) error {
	switch code {
	case statusReadOnly:
		return fmt.Errorf("%w: read-only and already set", mios.ErrDenied)
	case statusInvalidName:
		return fmt.Errorf("%w name: use letters, digits and the signs @ : . - _", mios.ErrInvalid)
	case statusInvalidValue:
		return fmt.Errorf("%w value: use at most %d bytes of UTF-8, of the type that the property has", mios.ErrInvalid, MaxValue)
	case statusPermission:
		return fmt.Errorf("%w: only root may set this property", mios.ErrDenied)
	case statusControl:
		return fmt.Errorf("init could not do this: see its lines in logcat")
	}
	return fmt.Errorf("property service answers 0x%x", code)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func readUint32(r io.Reader) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

func readString(r io.Reader) (string, error) {
	n, err := readUint32(r)
	if err != nil {
		return "", err
	}
	if n > maxString {
		return "", fmt.Errorf("string of %d bytes, limit is %d", n, maxString)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	return string(b), nil
}
