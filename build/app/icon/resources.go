package icon

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"mios"
	"mios/format/apk"
)

// A source is where a drawing's resources come from.
type source interface {
	// resolve follows references to a value that is none, and returns the
	// density in dpi that it is for. What it cannot follow it returns as it is.
	resolve(v apk.Value) (apk.Value, uint16)
	// file reads a file of the package.
	file(name string, limit int64) ([]byte, error)
	// style returns the values of a style, its parents' included, by attribute.
	style(v apk.Value) map[uint32]apk.Value
	// name is how a person knows a resource.
	name(id uint32) string
}

// Bounds of what is read.
const (
	maxFile      = 16 << 20
	maxPixels    = 16 << 20 // of a bitmap
	maxDepth     = 40       // of drawables in drawables
	maxStyles    = 64       // of styles and their parents
	maxReferents = 16       // of references to references
)

// A packageSource takes resources from a package.
type packageSource struct {
	f    *apk.File
	res  *apk.Resources // nil: there is no table
	want apk.Config
}

func newSource(f *apk.File, want apk.Config) (*packageSource, error) {
	res, err := f.Resources()
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	return &packageSource{f, res, want}, nil
}

func (s *packageSource) resolve(v apk.Value) (apk.Value, uint16) {
	if s.res == nil {
		return v, 0
	}
	out, in, err := s.res.Resolve(v, &s.want)
	if err != nil {
		return v, 0
	}
	return out, in.Config.Density
}

func (s *packageSource) file(name string, limit int64) ([]byte, error) {
	return s.f.ReadFile(name, limit)
}

func (s *packageSource) name(id uint32) string {
	if s.res == nil {
		return apk.ResID(id).String()
	}
	return s.res.Name(apk.ResID(id))
}

func (s *packageSource) style(v apk.Value) map[uint32]apk.Value {
	out := map[uint32]apk.Value{}
	if s.res == nil || !isReference(v) {
		return out
	}
	for id, n := apk.ResID(v.Data), 0; id != 0 && n < maxStyles; n++ {
		r, err := s.res.Get(id, &s.want)
		if err != nil {
			break
		}
		if !r.Bag {
			if !isReference(r.Value) {
				break
			}
			id = apk.ResID(r.Value.Data)
			continue
		}
		for _, item := range r.Items {
			if _, ok := out[uint32(item.Name)]; !ok {
				out[uint32(item.Name)] = item.Value
			}
		}
		id = r.Parent
	}
	return out
}

func isReference(v apk.Value) bool {
	return (v.Type == apk.TypeReference || v.Type == apk.TypeDynamicReference) && v.Data != 0
}

func isAttribute(v apk.Value) bool {
	return v.Type == apk.TypeAttribute || v.Type == apk.TypeDynamicAttribute
}

func isColor(v apk.Value) bool {
	return v.Type >= apk.TypeColorARGB8 && v.Type <= apk.TypeColorRGB4
}

// A drawing turns resources into a picture, and notes what it could not.
type drawing struct {
	budget
	src     source
	theme   map[uint32]apk.Value
	density float64  // dpi of the device that it is drawn for
	mask    Shape    // of adaptive icons
	file    string   // that is being read
	depth   int      // of drawables in drawables
	missing []string // sentences
}

// miss notes that something is not drawn.
func (d *drawing) miss(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if d.file != "" {
		s = d.file + ": " + s
	}
	for _, m := range d.missing {
		if m == s {
			return
		}
	}
	if len(d.missing) < 32 {
		d.missing = append(d.missing, s)
	}
}

// resolve follows v through references and the theme, and returns what it is
// with its density; false if that is unknown, which is noted.
func (d *drawing) resolve(v apk.Value) (apk.Value, uint16, bool) {
	for range maxReferents {
		switch {
		case isAttribute(v):
			of, ok := d.theme[v.Data]
			if !ok {
				d.miss("the theme's attribute ?%s is not known", d.src.name(v.Data))
				return v, 0, false
			}
			d.miss("the attribute ?%s is taken from the application's theme, which a home screen does not do", d.src.name(v.Data))
			v = of
		case isReference(v):
			if c, ok := systemColors[v.Data]; ok {
				return apk.Value{Type: apk.TypeColorARGB8, Data: uint32(c)}, 0, true
			}
			out, density := d.src.resolve(v)
			if out == v {
				what := "is not in the package"
				if v.Data>>24 == 1 {
					what = "is the system's own"
				}
				d.miss("@%s %s", d.src.name(v.Data), what)
				return v, 0, false
			}
			if isReference(out) || isAttribute(out) {
				v = out
				continue
			}
			return out, density, true
		default:
			return v, 0, true
		}
	}
	d.miss("%v: a reference that never ends", v)
	return v, 0, false
}

// systemColors are those of the platform that are the same on all devices
// (frameworks/base, core/res/res/values/colors.xml).
var systemColors = map[uint32]solid{
	0x01060000: 0xffaaaaaa, // darker_gray
	0x0106000b: 0xffffffff, // white
	0x0106000c: 0xff000000, // black
	0x0106000d: 0x00000000, // transparent
	0x0106000e: 0xff000000, // background_dark
	0x0106000f: 0xffffffff, // background_light
	0x01060012: 0xff33b5e5, // holo_blue_light
	0x01060013: 0xff0099cc, // holo_blue_dark
	0x01060014: 0xff99cc00, // holo_green_light
	0x01060015: 0xff669900, // holo_green_dark
	0x01060016: 0xffff4444, // holo_red_light
	0x01060017: 0xffcc0000, // holo_red_dark
	0x01060018: 0xffffbb33, // holo_orange_light
	0x01060019: 0xffff8800, // holo_orange_dark
	0x0106001a: 0xffaa66cc, // holo_purple
	0x0106001b: 0xff00ddff, // holo_blue_bright
}

// number is the value as a number without a unit.
func number(v apk.Value) (float64, bool) {
	switch v.Type {
	case apk.TypeFloat:
		f := float64(math.Float32frombits(v.Data))
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	case apk.TypeIntDec, apk.TypeIntHex, apk.TypeBoolean:
		return float64(int32(v.Data)), true
	}
	return 0, false
}

// complexValue is the number of a dimension or fraction (AOSP's
// androidfw/ResourceTypes.h, Res_value::COMPLEX_*), and its unit.
func complexValue(data uint32) (float64, int) {
	shifts := [4]float64{1, 1 << 7, 1 << 15, 1 << 23}
	return float64(int32(data)>>8) / shifts[data>>4&3], int(data & 15)
}

// dp is the length of a dimension for a device of density dpi.
func dp(v apk.Value, density float64) (float64, bool) {
	if v.Type != apk.TypeDimension {
		return number(v) // of pixels, as Android takes a plain number
	}
	n, unit := complexValue(v.Data)
	switch unit {
	case 0: // px
		return n * 160 / density, true
	case 1, 2: // dip, and sp with letters of the usual size
		return n, true
	case 3: // pt
		return n * 160 / 72, true
	case 4: // in
		return n * 160, true
	case 5: // mm
		return n * 160 / 25.4, true
	}
	return 0, false
}

// isXML says whether a file of resources is a binary XML document.
func isXML(name string) bool { return strings.HasSuffix(name, ".xml") }
