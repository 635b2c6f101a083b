package icon

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
)

// attrIDs are the attributes that the tests' XML uses, by name.
var attrIDs = map[string]uint32{
	"id": attrID, "drawable": attrDrawable, "src": attrSrc, "gravity": attrGravity, "width": attrWidth, "height": attrHeight,
	"viewportWidth": attrViewportWidth, "viewportHeight": attrViewportHeight, "tint": attrTint, "tintMode": attrTintMode,
	"alpha": attrAlpha, "rotation": attrRotation, "pivotX": attrPivotX, "pivotY": attrPivotY, "scaleX": attrScaleX, "scaleY": attrScaleY,
	"translateX": attrTranslateX, "translateY": attrTranslateY, "pathData": attrPathData, "fillColor": attrFillColor,
	"fillAlpha": attrFillAlpha, "fillType": attrFillType, "strokeColor": attrStrokeColor, "strokeWidth": attrStrokeWidth,
	"strokeAlpha": attrStrokeAlpha, "strokeLineCap": attrStrokeLineCap, "strokeLineJoin": attrStrokeLineJoin,
	"strokeMiterLimit": attrStrokeMiterLimit, "trimPathStart": attrTrimPathStart, "trimPathEnd": attrTrimPathEnd,
	"trimPathOffset": attrTrimPathOffset, "type": attrType, "startX": attrStartX, "startY": attrStartY, "endX": attrEndX, "endY": attrEndY,
	"centerX": attrCenterX, "centerY": attrCenterY, "gradientRadius": attrGradientRadius, "startColor": attrStartColor,
	"centerColor": attrCenterColor, "endColor": attrEndColor, "tileMode": attrTileMode, "offset": attrOffset, "color": attrColor,
	"angle": attrAngle, "shape": attrShape, "radius": attrRadius, "topLeftRadius": attrTopLeftRadius, "topRightRadius": attrTopRightRadius,
	"bottomLeftRadius": attrBottomLeftRadius, "bottomRightRadius": attrBottomRightRad, "dashWidth": attrDashWidth, "dashGap": attrDashGap,
	"left": attrLeft, "top": attrTop, "right": attrRight, "bottom": attrBottom, "inset": attrInset, "insetLeft": attrInsetLeft,
	"insetTop": attrInsetTop, "fromDegrees": attrFromDegrees, "minLevel": attrMinLevel, "maxLevel": attrMaxLevel,
	"innerRadius": attrInnerRadius, "thickness": attrThickness, "paddingMode": attrPaddingMode,
	"state_enabled": 0x0101009e, "state_pressed": 0x010100a7,
}

// attrEnums are names of numbers, by attribute.
var attrEnums = map[string]map[string]uint32{
	"fillType": {"nonZero": 0, "evenOdd": 1}, "strokeLineCap": {"butt": 0, "round": 1, "square": 2},
	"strokeLineJoin": {"miter": 0, "round": 1, "bevel": 2}, "type": {"linear": 0, "radial": 1, "sweep": 2},
	"tileMode": {"clamp": 0, "repeat": 1, "mirror": 2}, "shape": {"rectangle": 0, "oval": 1, "line": 2, "ring": 3},
	"tintMode": {"src_over": 3, "src_in": 5, "src_atop": 9, "multiply": 14, "screen": 15, "add": 16},
	"gravity":  {"center": 0x11, "fill": 0x77, "bottom|right": 0x55, "top|left": 0x33}, "paddingMode": {"nest": 0, "stack": 1},
}

// A textSource has files of text XML, which reference each other by name:
// "@drawable/star" and "@color/star" are both star.xml, "@drawable/dot.png" is
// dot.png.
type textSource struct {
	files fs.FS
	ids   map[string]uint32
	names []string
}

func newTextSource(files fs.FS) *textSource {
	return &textSource{files: files, ids: map[string]uint32{}}
}

func (s *textSource) resolve(v apk.Value) (apk.Value, uint16) {
	if i := int(v.Data) - 0x7f010000; i >= 0 && i < len(s.names) {
		return apk.Value{Type: apk.TypeString, Str: s.names[i]}, 160
	}
	return v, 0
}

func (s *textSource) file(name string, limit int64) ([]byte, error) {
	b, err := fs.ReadFile(s.files, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, mios.ErrNotFound)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s: too large", name)
	case !isXML(name):
		return b, nil
	}
	return s.binary(b)
}

func (s *textSource) style(apk.Value) map[uint32]apk.Value { return nil }
func (s *textSource) name(id uint32) string                { return apk.ResID(id).String() }

// binary turns text XML into what the packages of apps have.
func (s *textSource) binary(text []byte) ([]byte, error) {
	dec := xml.NewDecoder(bytes.NewReader(text))
	var open []*apk.Element
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &apk.Element{Name: tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Space == "xmlns" {
					continue
				}
				v, err := s.value(a.Name.Local, a.Value)
				if err != nil {
					return nil, err
				}
				e.Attrs = append(e.Attrs, apk.Attr{Name: a.Name.Local, Namespace: apk.AndroidNS, ResID: attrIDs[a.Name.Local], Value: v})
			}
			if len(open) > 0 {
				p := open[len(open)-1]
				p.Children = append(p.Children, e)
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 1 {
				return apk.AppendXML(nil, open[0]), nil
			}
			open = open[:len(open)-1]
		}
	}
}

// units are those of dimensions, with Android's numbers.
var units = []string{"px", "dp", "sp", "pt", "in", "mm"}

func (s *textSource) value(attr, text string) (apk.Value, error) {
	if attrIDs[attr] == 0 {
		return apk.Value{}, fmt.Errorf("attribute %s is not in attrIDs", attr)
	}
	if n, ok := attrEnums[attr][text]; ok {
		return apk.Value{Type: apk.TypeIntDec, Data: n}, nil
	}
	switch {
	case attr == "pathData":
		return apk.Value{Type: apk.TypeString, Str: text}, nil
	case text == "true" || text == "false":
		return apk.Value{Type: apk.TypeBoolean, Data: map[string]uint32{"true": math.MaxUint32}[text]}, nil
	case strings.HasPrefix(text, "@0x"), strings.HasPrefix(text, "?0x"):
		n, err := strconv.ParseUint(text[3:], 16, 32)
		kind := map[byte]apk.ValueType{'@': apk.TypeReference, '?': apk.TypeAttribute}[text[0]]
		return apk.Value{Type: kind, Data: uint32(n)}, err
	case strings.HasPrefix(text, "@"):
		name := filepath.Base(text)
		if filepath.Ext(name) == "" {
			name += ".xml"
		}
		if s.ids[name] == 0 {
			s.ids[name] = 0x7f010000 + uint32(len(s.names))
			s.names = append(s.names, name)
		}
		return apk.Value{Type: apk.TypeReference, Data: s.ids[name]}, nil
	case strings.HasPrefix(text, "#"):
		n, err := strconv.ParseUint(text[1:], 16, 32)
		if len(text) == 7 {
			n |= 0xff000000
		}
		return apk.Value{Type: apk.TypeColorARGB8, Data: uint32(n)}, err
	case strings.HasSuffix(text, "%"):
		f, err := strconv.ParseFloat(text[:len(text)-1], 64)
		return apk.Value{Type: apk.TypeFraction, Data: uint32(int32(f/100*(1<<23)))<<8 | 3<<4}, err
	}
	for i, u := range units {
		if n, ok := strings.CutSuffix(text, u); ok {
			f, err := strconv.ParseFloat(n, 64)
			return apk.Value{Type: apk.TypeDimension, Data: uint32(int32(math.Round(f*(1<<7))))<<8 | 1<<4 | uint32(i)}, err
		}
	}
	f, err := strconv.ParseFloat(text, 32)
	return apk.Value{Type: apk.TypeFloat, Data: math.Float32bits(float32(f))}, err
}

// drawText draws a file of a source.
func drawText(t testing.TB, s source, file string, size int, o Options) (*Icon, error) {
	t.Helper()
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	return o.drawing(context.Background(), s, nil).icon(apk.Value{Type: apk.TypeString, Str: file}, size, false)
}
