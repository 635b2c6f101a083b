package apk

import (
	"fmt"
	"math"
	"strconv"
)

// A ValueType says how a value is to be read: AOSP's Res_value::dataType
// (androidfw/ResourceTypes.h).
type ValueType uint8

// The types of values.
const (
	TypeNull             ValueType = 0x00 // Data 1 is @empty
	TypeReference        ValueType = 0x01
	TypeAttribute        ValueType = 0x02
	TypeString           ValueType = 0x03
	TypeFloat            ValueType = 0x04
	TypeDimension        ValueType = 0x05
	TypeFraction         ValueType = 0x06
	TypeDynamicReference ValueType = 0x07
	TypeDynamicAttribute ValueType = 0x08
	TypeIntDec           ValueType = 0x10
	TypeIntHex           ValueType = 0x11
	TypeBoolean          ValueType = 0x12
	TypeColorARGB8       ValueType = 0x1c // the Data of all four colors is 0xAARRGGBB
	TypeColorRGB8        ValueType = 0x1d
	TypeColorARGB4       ValueType = 0x1e
	TypeColorRGB4        ValueType = 0x1f

	firstInt = TypeIntDec
	lastInt  = TypeColorRGB4
)

// A Value is an attribute's value, or a resource's.
type Value struct {
	Type ValueType
	Data uint32 // unless it is a string
	Str  string // if it is one
}

// IsInt reports whether the value is a number, truth or color.
func (v Value) IsInt() bool { return v.Type >= firstInt && v.Type <= lastInt }

// IsColor reports whether the value is a color, whose Data is 0xAARRGGBB.
func (v Value) IsColor() bool { return v.Type >= TypeColorARGB8 && v.Type <= TypeColorRGB4 }

// Reference returns the resource that the value refers to, if it does.
func (v Value) Reference() (ResID, bool) {
	return ResID(v.Data), (v.Type == TypeReference || v.Type == TypeDynamicReference) && v.Data != 0
}

// Float returns the number of a TypeFloat.
func (v Value) Float() float32 { return math.Float32frombits(v.Data) }

// Units of dimensions and fractions, by their number.
var (
	dimensionUnits = []string{"px", "dp", "sp", "pt", "in", "mm"}
	fractionUnits  = []string{"%", "%p"}
)

// Dimension returns the number and the unit of a dimension, "px", "dp", "sp",
// "pt", "in" or "mm", or of a fraction, "%" or "%p" of the parent, whose number
// is 1 for 100 %.
func (v Value) Dimension() (n float64, unit string) {
	units := dimensionUnits
	if v.Type == TypeFraction {
		units = fractionUnits
	}
	if i := int(v.Data & 0xf); i < len(units) {
		unit = units[i]
	}
	places := [...]int{0, 7, 15, 23}[v.Data>>4&3] // behind the binary point
	return float64(int32(v.Data)>>8) / float64(int(1)<<places), unit
}

// String returns the value as a person writes it; references as "@0x7f010001".
func (v Value) String() string {
	switch v.Type {
	case TypeNull:
		return ""
	case TypeReference, TypeDynamicReference:
		return "@" + ResID(v.Data).String()
	case TypeAttribute, TypeDynamicAttribute:
		return "?" + ResID(v.Data).String()
	case TypeString:
		return v.Str
	case TypeFloat:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
	case TypeDimension, TypeFraction:
		n, unit := v.Dimension()
		if v.Type == TypeFraction {
			n *= 100
		}
		return strconv.FormatFloat(n, 'g', 7, 64) + unit
	case TypeIntDec:
		return strconv.Itoa(int(int32(v.Data)))
	case TypeBoolean:
		return strconv.FormatBool(v.Data != 0)
	}
	if v.IsColor() {
		return fmt.Sprintf("#%08x", v.Data)
	}
	return fmt.Sprintf("0x%x", v.Data)
}
