package fdroid_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"mios/publish/app/fdroid"
	"mios/storage/tree/dir"
)

// hostile is what a developer might write into any field.
const hostile = "<script>alert(1)</script>\x00\x1b[2J\u202egpj.exe\u2066\u0085\xff\"\\</a><b onclick=x>\u2028end"

// fill puts the hostile text into every string and every map of texts, beside
// one that is well.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[fdroid.File]() {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() && v.Type().Field(i).Name != "Package" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k == reflect.String || k == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one)
		v.SetMapIndex(reflect.ValueOf("en-US"), one)
		v.SetMapIndex(reflect.ValueOf(hostile), one)
	}
}

// TestHostileTexts: whatever is in any field, the indexes are JSON, and have no
// character in them that controls something, and no tag that runs in a
// description.
func TestHostileTexts(t *testing.T) {
	tr := dir.New(t.TempDir())
	a := made(1, 1)
	file, icon := a.Versions[0].File, a.Icon
	fill(reflect.ValueOf(a).Elem())
	a.Versions[0].File, a.Icon = file, icon
	c := config(t, tr)
	fill(reflect.ValueOf(&c.Categories).Elem())
	fill(reflect.ValueOf(&c.AntiFeatures).Elem())
	fill(reflect.ValueOf(&c.Name).Elem())
	fill(reflect.ValueOf(&c.Description).Elem())
	publish(t, c, a)
	n := 0
	for _, b := range [][]byte{readEntry(t, tr).Index.get(t, tr), inJAR(t, read(t, tr, "index-v1.jar"), "index-v1.json")} {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		n += checkStrings(t, "", v)
	}
	if n < 45 {
		t.Errorf("%d strings with what was written: the search is broken", n)
	}
}

// checkStrings returns how many strings are of the hostile text.
func checkStrings(t *testing.T, path string, v any) (n int) {
	switch v := v.(type) {
	case string:
		bad := func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || slices.Contains([]rune("\u202e\u2066\u2028\ufeff"), r)
		}
		if strings.ContainsFunc(v, bad) {
			t.Errorf("%s: %q", path, v)
		}
		if strings.Contains(path, "escription") && strings.HasPrefix(path, "/packages") && (strings.Contains(v, "<script") || strings.Contains(v, "<b onclick")) {
			t.Errorf("%s: %q has tags that run", path, v)
		}
		if strings.Contains(v, "end") {
			return 1
		}
	case []any:
		for _, e := range v {
			n += checkStrings(t, path+"/", e)
		}
	case map[string]any:
		for k, e := range v {
			if strings.ContainsFunc(k, unicode.IsControl) || strings.Contains(k, "\u202e") {
				t.Errorf("%s: key %q", path, k)
			}
			n += checkStrings(t, path+"/"+k, e)
		}
	}
	return n
}
