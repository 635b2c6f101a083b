package dex

import "strings"

const maxDimensions = 255

// validDescriptor reports whether s is the descriptor of a type, as AOSP's
// art/libdexfile, descriptors_names.cc, has it.
func validDescriptor(s string) bool {
	dims := len(s) - len(strings.TrimLeft(s, "["))
	if s = s[dims:]; dims > maxDimensions || s == "" {
		return false
	}
	switch s[0] {
	case 'V':
		return len(s) == 1 && dims == 0
	case 'Z', 'B', 'S', 'C', 'I', 'J', 'F', 'D':
		return len(s) == 1
	case 'L':
		if len(s) < 3 || s[len(s)-1] != ';' {
			return false
		}
		for part := range strings.SplitSeq(s[1:len(s)-1], "/") {
			if !validName(part) {
				return false
			}
		}
		return true
	}
	return false
}

// validMember reports whether s may name a method or field.
func validMember(s string) bool {
	if len(s) > 2 && s[0] == '<' && s[len(s)-1] == '>' {
		s = s[1 : len(s)-1]
	}
	return validName(s)
}

// validName reports whether s is a SimpleName of the format's definition.
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x80 {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '$' || c == '-' || c == '_' || c == ' ') {
				return false
			}
			continue
		}
		return validWide(s[i:])
	}
	return s != ""
}

// validWide is the rest of validName from the first character on that is not
// ASCII.
func validWide(s string) bool {
	for _, r := range s {
		switch {
		case r < 0x80:
			if !validName(string(r)) {
				return false
			}
		case 0xa0 <= r && r <= 0x200a, 0x2010 <= r && r <= 0x2027, r == 0x202f, 0x2030 <= r && r <= 0xffef && r != 0xfffd, r >= 0x10000:
		default: // a surrogate without its partner, or one of the few that are left out
			return false
		}
	}
	return true
}
