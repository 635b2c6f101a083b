package tuf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"path"
	"strconv"
	"strings"
)

// Matches tells whether the role may name a target. In a pattern, * and ? do
// not match a /.
func (r *DelegatedRole) Matches(target string) bool {
	for _, p := range r.Paths {
		if matches(p, target) {
			return true
		}
	}
	if len(r.PathHashPrefixes) == 0 {
		return false
	}
	sum := sha256.Sum256([]byte(target))
	text := hex.EncodeToString(sum[:])
	for _, p := range r.PathHashPrefixes {
		if p != "" && strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}

// matches compares part by part, so that nothing in a pattern matches a /.
func matches(pattern, target string) bool {
	p, t := strings.Split(pattern, "/"), strings.Split(target, "/")
	if len(p) != len(t) {
		return false
	}
	for i := range p {
		if ok, err := path.Match(p[i], t[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

// SuccinctRoles are 2^BitLength roles with the same keys, called
// NamePrefix-0 and so on in hexadecimal of one width: each may name the targets
// the SHA-256 of whose path begins with its number (TAP 15).
type SuccinctRoles struct {
	KeyIDs       []string
	Threshold    int
	BitLength    int // 1 to 32
	NamePrefix   string
	Unrecognized map[string]any
}

const maxBitLength = 32

// name returns the name of a bin.
func (s *SuccinctRoles) name(n uint64) string {
	width := len(strconv.FormatUint(1<<s.BitLength-1, 16))
	return fmt.Sprintf("%s-%0*x", s.NamePrefix, width, n)
}

// Bin returns the role that may name a target.
func (s *SuccinctRoles) Bin(target string) string {
	sum := sha256.Sum256([]byte(target))
	return s.name(uint64(binary.BigEndian.Uint32(sum[:]) >> (maxBitLength - s.BitLength)))
}

// Bins returns the names of all the roles, in order.
func (s *SuccinctRoles) Bins() iter.Seq[string] {
	return func(yield func(string) bool) {
		for n := range uint64(1) << s.BitLength {
			if !yield(s.name(n)) {
				return
			}
		}
	}
}

// Has tells whether a role is one of them.
func (s *SuccinctRoles) Has(role string) bool {
	suffix, ok := strings.CutPrefix(role, s.NamePrefix+"-")
	n, err := strconv.ParseUint(suffix, 16, 64)
	return ok && err == nil && n>>s.BitLength == 0 && s.name(n) == role
}
