package apk

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// value gives s the first type that it fits and that the attribute may have, in
// the order of AOSP's ResTable::stringToValue.
func (d attrDef) value(s string) (Value, bool) {
	if n, ok := d.named(s); ok {
		return n, true
	}
	if v, ok := referenceValue(s); ok {
		return v, true
	}
	if strings.HasPrefix(s, "@") || strings.HasPrefix(s, "?") {
		return Value{}, false // a name, that only a resource table knows
	}
	for _, form := range []struct {
		kind  attrKind
		parse func(string) (Value, bool)
	}{
		{kindColor, colorValue}, {kindBool, boolValue}, {kindInt, intValue}, {kindFloat, floatValue},
		{kindDimension, dimensionValue}, {kindFraction, fractionValue},
	} {
		if d.kind&form.kind != 0 {
			if v, ok := form.parse(s); ok {
				return v, true
			}
		}
	}
	text, ok := unescape(s)
	return Value{Type: TypeString, Str: text}, ok && d.kind&kindString != 0
}

// named is one of the attribute's words, or flags with | between.
func (d attrDef) named(s string) (Value, bool) {
	if n, ok := d.words[s]; ok && d.kind&kindEnum != 0 {
		return Value{Type: TypeIntDec, Data: n}, true
	}
	if d.kind&kindFlags == 0 {
		return Value{}, false
	}
	v := Value{Type: TypeIntHex}
	for word := range strings.SplitSeq(s, "|") {
		n, ok := d.words[strings.TrimSpace(word)]
		if !ok {
			return Value{}, false
		}
		v.Data |= n
	}
	return v, true
}

// referenceValue reads a reference by number, or to nothing.
func referenceValue(s string) (Value, bool) {
	switch {
	case s == "@null":
		return Value{Type: TypeReference}, true
	case s == "@empty":
		return Value{Type: TypeNull, Data: 1}, true
	case !strings.HasPrefix(s, "@0x") && !strings.HasPrefix(s, "?0x"):
		return Value{}, false
	}
	n, err := strconv.ParseUint(s[3:], 16, 32)
	v := Value{Type: TypeReference, Data: uint32(n)}
	if s[0] == '?' {
		v.Type = TypeAttribute
	}
	return v, err == nil && n > 0xffff
}

func boolValue(s string) (Value, bool) {
	switch s {
	case "true", "TRUE", "True":
		return Value{Type: TypeBoolean, Data: 0xffffffff}, true
	case "false", "FALSE", "False":
		return Value{Type: TypeBoolean}, true
	}
	return Value{}, false
}

func intValue(s string) (Value, bool) {
	s = strings.TrimSpace(s)
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		return Value{Type: TypeIntHex, Data: uint32(n)}, err == nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return Value{Type: TypeIntDec, Data: uint32(int32(n))}, err == nil && s[0] != '+'
}

func floatValue(s string) (Value, bool) {
	f, ok := decimal(s)
	return Value{Type: TypeFloat, Data: math.Float32bits(float32(f))}, ok
}

// decimal reads a number as a person writes it: no names, no hexadecimal.
func decimal(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "+-0123456789.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 32)
	return f, err == nil
}

// colorValue reads #RGB, #ARGB, #RRGGBB or #AARRGGBB.
func colorValue(s string) (Value, bool) {
	hex, ok := strings.CutPrefix(s, "#")
	if !ok {
		return Value{}, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	c := uint32(n)
	double := func(digits int) (out uint32) { // 0xf08 -> 0xff0088
		for i := range digits {
			out |= (c >> (4 * i) & 15) * 0x11 << (8 * i)
		}
		return out
	}
	switch {
	case err != nil:
	case len(hex) == 3:
		return Value{Type: TypeColorRGB4, Data: 0xff000000 | double(3)}, true
	case len(hex) == 4:
		return Value{Type: TypeColorARGB4, Data: double(4)}, true
	case len(hex) == 6:
		return Value{Type: TypeColorRGB8, Data: 0xff000000 | c}, true
	case len(hex) == 8:
		return Value{Type: TypeColorARGB8, Data: c}, true
	}
	return Value{}, false
}

func dimensionValue(s string) (Value, bool) {
	for i, unit := range []string{"px", "dip", "sp", "pt", "in", "mm", "dp"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			f, ok := decimal(n)
			return Value{Type: TypeDimension, Data: complexData(float32(f), uint32(i%6)|uint32(i/6))}, ok
		}
	}
	return Value{}, false
}

func fractionValue(s string) (Value, bool) {
	n, ok := strings.CutSuffix(s, "%")
	unit := uint32(0)
	if !ok {
		n, ok = strings.CutSuffix(s, "%p")
		unit = 1
	}
	f, number := decimal(n)
	return Value{Type: TypeFraction, Data: complexData(float32(f)*(1.0/100), unit)}, ok && number
}

// complexData packs a number of 23 bits, and where its binary point is, above
// the unit: AOSP's Res_value, COMPLEX_*.
func complexData(f float32, unit uint32) uint32 {
	negative := f < 0
	if negative {
		f = -f
	}
	bits := uint64(f*(1<<23) + 0.5) // in float32, as AOSP does
	var radix, shift uint32
	switch {
	case bits&0x7fffff == 0:
		radix, shift = 0, 23
	case bits&^0x7fffff == 0:
		radix, shift = 3, 0
	case bits&^0x7fffffff == 0:
		radix, shift = 2, 8
	case bits&^0x7fffffffff == 0:
		radix, shift = 1, 16
	default:
		radix, shift = 0, 23
	}
	mantissa := int32(bits >> shift & 0xffffff)
	if negative {
		mantissa = -mantissa & 0xffffff
	}
	return uint32(mantissa)<<8 | radix<<4 | unit
}

// unescape resolves the escapes that Android's resources have.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false
		}
		switch c := s[i]; c {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'u':
			if len(s) < i+5 {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil || !utf8.ValidRune(rune(n)) {
				return "", false
			}
			b.WriteRune(rune(n))
			i += 4
		case '\\', '\'', '"', '@', '?', '#':
			b.WriteByte(c)
		default:
			return "", false
		}
	}
	return b.String(), true
}

// want says what the attribute may be.
func (d attrDef) want() string {
	var list []string
	for i, name := range []string{"@0x7f010001", "a text", "a whole number of 32 bits", "true or false", "a color", "a number", "a dimension", "a fraction"} {
		if d.kind>>i&1 != 0 && i > 0 {
			list = append(list, name)
		}
	}
	if d.kind&(kindEnum|kindFlags) != 0 {
		list = append(list, "one of the names that Android's documentation lists")
	}
	if list == nil {
		return "a reference to a resource"
	}
	return strings.Join(list, ", or ")
}
