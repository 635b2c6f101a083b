package icon

import (
	"mios/format/apk"
)

// The resource ids of the attributes that drawables are read by. They never
// change (frameworks/base, core/res/res/values/public-final.xml).
const (
	attrID               = 0x010100d0
	attrDrawable         = 0x01010199
	attrSrc              = 0x01010119
	attrGravity          = 0x010100af
	attrWidth            = 0x01010159
	attrHeight           = 0x01010155
	attrViewportWidth    = 0x01010402
	attrViewportHeight   = 0x01010403
	attrTint             = 0x01010121
	attrTintMode         = 0x010103fb
	attrAlpha            = 0x0101031f
	attrRotation         = 0x01010326
	attrPivotX           = 0x010101b5
	attrPivotY           = 0x010101b6
	attrScaleX           = 0x01010324
	attrScaleY           = 0x01010325
	attrTranslateX       = 0x0101045a
	attrTranslateY       = 0x0101045b
	attrPathData         = 0x01010405
	attrFillColor        = 0x01010404
	attrFillAlpha        = 0x010104cc
	attrFillType         = 0x0101051e
	attrStrokeColor      = 0x01010406
	attrStrokeWidth      = 0x01010407
	attrStrokeAlpha      = 0x010104cb
	attrStrokeLineCap    = 0x0101040b
	attrStrokeLineJoin   = 0x0101040c
	attrStrokeMiterLimit = 0x0101040d
	attrTrimPathStart    = 0x01010408
	attrTrimPathEnd      = 0x01010409
	attrTrimPathOffset   = 0x0101040a
	attrType             = 0x010101a1
	attrStartX           = 0x01010510
	attrStartY           = 0x01010511
	attrEndX             = 0x01010512
	attrEndY             = 0x01010513
	attrCenterX          = 0x010101a2
	attrCenterY          = 0x010101a3
	attrGradientRadius   = 0x010101a4
	attrStartColor       = 0x0101019d
	attrCenterColor      = 0x0101020b
	attrEndColor         = 0x0101019e
	attrTileMode         = 0x01010201
	attrTileModeX        = 0x01010477
	attrTileModeY        = 0x01010478
	attrOffset           = 0x01010514
	attrColor            = 0x010101a5
	attrAngle            = 0x010101a0
	attrShape            = 0x0101019a
	attrRadius           = 0x010101a8
	attrTopLeftRadius    = 0x010101a9
	attrTopRightRadius   = 0x010101aa
	attrBottomLeftRadius = 0x010101ab
	attrBottomRightRad   = 0x010101ac
	attrDashWidth        = 0x010101a6
	attrDashGap          = 0x010101a7
	attrLeft             = 0x010101ad
	attrTop              = 0x010101ae
	attrRight            = 0x010101af
	attrBottom           = 0x010101b0
	attrStart            = 0x010104db
	attrEnd              = 0x010104dc
	attrInset            = 0x010104b5
	attrInsetLeft        = 0x010101b7
	attrInsetTop         = 0x010101b9
	attrInsetRight       = 0x010101b8
	attrInsetBottom      = 0x010101ba
	attrFromDegrees      = 0x010101b3
	attrMinLevel         = 0x010101b1
	attrMaxLevel         = 0x010101b2
	attrInnerRadius      = 0x0101025f
	attrInnerRadiusRatio = 0x0101019b
	attrThickness        = 0x01010260
	attrThicknessRatio   = 0x0101019c
	attrPaddingMode      = 0x01010457
)

// attrs reads the attributes of one element, following references and the
// theme. What cannot be followed is noted, and is as if it were not there.
type attrs struct {
	d *drawing
	e *apk.Element
}

func (a attrs) value(id uint32) (apk.Value, uint16, bool) {
	at := a.e.Res(id)
	if at == nil || at.Value.Type == apk.TypeNull {
		return apk.Value{}, 0, false
	}
	return a.d.resolve(at.Value)
}

// wrong notes that an attribute has a value that its type does not have.
func (a attrs) wrong(id uint32, v apk.Value) {
	name := apk.ResID(id).String()
	if at := a.e.Res(id); at != nil && at.Name != "" {
		name = at.Name
	}
	a.d.miss("<%s> %s=%q is not understood", a.e.Name, name, v.String())
}

// float is a number without a unit.
func (a attrs) float(id uint32, otherwise float64) float64 {
	v, _, ok := a.value(id)
	if !ok {
		return otherwise
	}
	f, ok := number(v)
	if !ok {
		a.wrong(id, v)
		return otherwise
	}
	return f
}

func (a attrs) int(id uint32, otherwise int) int { return int(a.float(id, float64(otherwise))) }

// length is a dimension in dp.
func (a attrs) length(id uint32, otherwise float64) float64 {
	v, _, ok := a.value(id)
	if !ok {
		return otherwise
	}
	f, ok := dp(v, a.d.density)
	if !ok {
		a.wrong(id, v)
		return otherwise
	}
	if v.Type != apk.TypeDimension {
		f *= 160 / a.d.density
	}
	return f
}

// A portion is a length: some dp and some part of another length.
type portion struct{ dp, of float64 }

func (p portion) in(length float64) float64 { return p.dp + p.of*length }

// portion is a dimension, or a fraction of something.
func (a attrs) portion(id uint32, otherwise portion) portion {
	v, _, ok := a.value(id)
	if ok && v.Type == apk.TypeFraction {
		n, _ := complexValue(v.Data)
		return portion{of: n}
	}
	if !ok {
		return otherwise
	}
	return portion{dp: a.length(id, 0)}
}

func (a attrs) has(id uint32) bool { return a.e.Res(id) != nil }

func (a attrs) text(id uint32) string {
	v, _, ok := a.value(id)
	if !ok {
		return ""
	}
	if v.Type != apk.TypeString {
		a.wrong(id, v)
		return ""
	}
	return v.Str
}

// color is a plain color; false without one.
func (a attrs) color(id uint32) (solid, bool) {
	p := a.paint(id)
	if p == nil {
		return 0, false
	}
	s, ok := p.(solid)
	if !ok {
		a.d.miss("<%s>: a gradient where a color is wanted", a.e.Name)
	}
	return s, ok
}

// paint is a color or gradient, or nil.
func (a attrs) paint(id uint32) paint {
	v, _, ok := a.value(id)
	if !ok {
		return nil
	}
	return a.d.paint(v)
}

// tint is what the element's tint and tintMode say, or nil.
func (a attrs) tint() *tint {
	c, ok := a.color(attrTint)
	if !ok {
		return nil
	}
	return &tint{c, a.int(attrTintMode, modeSrcIn)}
}
