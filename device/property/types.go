package property

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// CheckType tells whether value is of the type, which is written as in
// property_contexts: string, bool, int, uint, double, size, or enum with its
// values. The empty value is of every type (AOSP's property_type.cpp).
func CheckType(typ, value string) bool {
	if value == "" {
		return true
	}
	words := strings.Split(typ, " ")
	var err error
	switch words[0] {
	case "string":
	case "bool":
		return slices.Contains([]string{"true", "false", "1", "0"}, value)
	case "int":
		_, err = strconv.ParseInt(value, base(strings.TrimPrefix(value, "-")), 64)
	case "uint":
		_, err = strconv.ParseUint(value, base(value), 64)
	case "double":
		_, err = strconv.ParseFloat(value, 64)
	case "size":
		digits := strings.TrimRight(value, "gkm")
		if len(value)-len(digits) != 1 {
			return false
		}
		return digits != "" && strings.Trim(digits, "0123456789") == ""
	case "enum":
		return slices.Contains(words[1:], value)
	default:
		return false
	}
	return err == nil
}

// base returns 0, for which strconv takes a 0x away, or 10.
func base(s string) int {
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		return 0
	}
	return 10
}

// A Type says which values the properties of a name, or whose names start
// with it, may have.
type Type struct {
	Name   string
	Prefix bool
	Type   string // for [CheckType]
}

// ParseTypes reads the types out of a file in the format of AOSP's
// property_contexts: NAME CONTEXT [exact|prefix TYPE...]; lines without a type
// are left out.
func ParseTypes(r io.Reader) ([]Type, error) {
	var list []Type
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		if len(f) == 1 || len(f) > 2 && f[2] != "exact" && f[2] != "prefix" {
			return nil, fmt.Errorf("property types: line %d: want NAME CONTEXT [exact|prefix TYPE]", n)
		}
		if len(f) > 3 {
			list = append(list, Type{f[0], f[2] == "prefix", strings.Join(f[3:], " ")})
		}
	}
	return list, lines.Err()
}

// typeOf returns the type of a property: the exact entry, or the one with the
// longest prefix, or string.
func typeOf(list []Type, name string) string {
	best := Type{Type: "string"}
	for _, t := range list {
		switch {
		case !t.Prefix && t.Name == name:
			return t.Type
		case t.Prefix && strings.HasPrefix(name, t.Name) && len(t.Name) >= len(best.Name):
			best = t
		}
	}
	return best.Type
}
