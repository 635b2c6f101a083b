// Package property is AOSP's property service: short names with short values
// that the whole system can read, wait for, and, with permission, set. It has
// the store that init keeps, the server on a Unix socket, and the client. The
// rules are those of system/core/init/property_service.cpp.
package property

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"mios"
)

// MaxValue is the most bytes that a value may have, without the final zero of
// AOSP's PROP_VALUE_MAX; values of ro. names may be longer. [Clip] cuts a text
// to it.
const MaxValue = 91

// maxName and maxLongValue bound what AOSP leaves open.
const (
	maxName      = 255
	maxLongValue = 32 << 10
)

// PowerControl is the property that reboots or shuts down.
const PowerControl = "sys.powerctl"

// A Property is a name with its value.
type Property struct {
	Name, Value string
}

// CheckName returns an error that wraps [mios.ErrInvalid] unless name is what
// AOSP's IsLegalPropertyName accepts: letters, digits and . - _ @ :, no dot at
// an end and no two in a row.
func CheckName(name string) error {
	bad := name == "" || len(name) > maxName || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..")
	for i := 0; i < len(name) && !bad; i++ {
		c := name[i]
		bad = !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-@:", c) >= 0)
	}
	if bad {
		return fmt.Errorf("property name %.80q: %w: use letters, digits and the signs @ : . - _", name, mios.ErrInvalid)
	}
	return nil
}

// CheckValue returns an error that wraps [mios.ErrInvalid] unless value is
// UTF-8 and no longer than the property may have it.
func CheckValue(name, value string) error {
	limit := MaxValue
	if strings.HasPrefix(name, "ro.") {
		limit = maxLongValue
	}
	switch {
	case len(value) > limit:
		return fmt.Errorf("property %s: %w: value of %d bytes, limit is %d", name, mios.ErrInvalid, len(value), limit)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return fmt.Errorf("property %s: %w: value is not UTF-8 text", name, mios.ErrInvalid)
	}
	return nil
}

// Clip returns the longest start of s that fits into a value.
func Clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if len(s) <= MaxValue {
		return s
	}
	n := MaxValue
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// MaySet tells whether a process of the user uid may set the property: root
// any, system (1000) those that neither control services nor the power, shell
// (2000) debug. and log. properties, others none.
func MaySet(uid uint32, name string) bool {
	switch uid {
	case 0:
		return true
	case 1000:
		return name != PowerControl && !strings.HasPrefix(name, "ro.") && !strings.HasPrefix(name, "ctl.") &&
			!strings.HasPrefix(name, "init.")
	case 2000:
		return strings.HasPrefix(name, "debug.") || strings.HasPrefix(name, "log.") || strings.HasPrefix(name, "persist.log.")
	}
	return false
}
