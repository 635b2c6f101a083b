package apk_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/apk"
)

// choiceLocales are locales whose choice is not plain: regions that follow
// others, languages of several scripts, pseudo-locales.
var choiceLocales = strings.Fields(`en en-rUS en-rGB en-rAU en-rCA en-rIN en-rPH en-rDE en-rBE en-rPR en-rZA en-rNL b+en+001 b+en+150 en-rXA en-rXC b+en+Shaw
	es es-rES es-rUS es-rMX es-rAR es-rBZ es-rGQ b+es+419 pt pt-rBR pt-rPT pt-rAO pt-rFR zh zh-rCN zh-rTW zh-rHK zh-rMO zh-rSG b+zh+Hans b+zh+Hant b+zh+Hant+HK
	ar ar-rEG ar-rSA ar-rDZ ar-rAE ar-rXB b+ar+015 sr sr-rRS sr-rME b+sr+Latn b+sr+Cyrl+BA az az-rIR uz uz-rAF pa pa-rPK kk kk-rCN mn mn-rCN
	de de-rAT de-rCH fr fr-rCA fr-rBE nb nn no iw he in id tl fil fil-rPH yue yue-rCN ku ku-rIQ hi b+hi+Latn ha ha-rSD ks sd ms mr xx qaa ta-rLK shi tzm zgh vai`)

// choiceQualifiers are qualifiers of which folders of icons have some, in the
// order in which they must stand.
var choiceQualifiers = [][]string{
	{"mcc310", "mcc310-mnc004"}, {"en", "en-rGB", "fr"}, {"ldltr", "ldrtl"}, {"sw320dp", "sw300dp", "sw600dp"}, {"w320dp", "w200dp", "w500dp"}, {"h480dp", "h400dp", "h481dp"},
	{"small", "normal", "large"}, {"long", "notlong"}, {"round"}, {"port", "land"}, {"car", "television"}, {"night", "notnight"},
	{"ldpi", "mdpi", "tvdpi", "hdpi", "280dpi", "xhdpi", "xxhdpi", "xxxhdpi", "nodpi", "anydpi"}, {"finger"}, {"keysexposed", "keyssoft"}, {"qwerty"}, {"dpad"}, {"v4", "v16", "v21", "v29"},
}

// TestIconChoice lets the installed aapt choose the icon for each density of
// packages that have it for many kinds of devices.
func TestIconChoice(t *testing.T) {
	manifest := `<manifest ` + androidNS + ` package="a.b"><application android:icon="@drawable/i"/></manifest>`
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 6 {
		dir := t.TempDir()
		put(t, dir, apk.ManifestName, manifest)
		for range 40 {
			folder := "drawable"
			for i, list := range choiceQualifiers {
				if i == 12 && random.IntN(3) > 0 || random.IntN(10) < 1 {
					folder += "-" + list[random.IntN(len(list))]
				}
			}
			put(t, dir, "res/"+folder+"/i.xml", `<shape `+androidNS+`/>`)
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path := byAapt(t, dir)
			compareBadging(t, path)
			if b, err := read(path); err != nil || len(b.Icons) < 5 {
				t.Errorf("icons: %v, %v", b.Icons, err)
			}
		})
	}
}

// put writes a file of a project.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLocaleChoice lets the installed aapt choose the label for every locale of
// packages that have one only in some.
func TestLocaleChoice(t *testing.T) {
	manifest := `<manifest ` + androidNS + ` package="a.b"><application android:label="@string/app"/></manifest>`
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 6 {
		dir := t.TempDir()
		put(t, dir, apk.ManifestName, manifest)
		put(t, dir, "res/values/s.xml", `<resources><string name="app">default</string><string name="other">o</string></resources>`)
		for _, l := range choiceLocales {
			text := `<string name="other">` + l + `</string>`
			if random.IntN(6) < n {
				text += `<string name="app">` + l + `</string>`
			}
			put(t, dir, "res/values-"+l+"/s.xml", `<resources>`+text+`</resources>`)
		}
		t.Run(fmt.Sprint(n, " of 6"), func(t *testing.T) { compareBadging(t, byAapt(t, dir)) })
	}
}
