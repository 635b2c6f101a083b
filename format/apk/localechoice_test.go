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

// TestLocaleChoice lets the installed aapt choose the label for every locale of
// packages that have one only in some.
func TestLocaleChoice(t *testing.T) {
	manifest := `<manifest ` + androidNS + ` package="a.b"><application android:label="@string/app"/></manifest>`
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 8 {
		dir := t.TempDir()
		put := func(name, text string) {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(apk.ManifestName, manifest)
		put("res/values/s.xml", `<resources><string name="app">default</string><string name="other">o</string></resources>`)
		for _, l := range choiceLocales {
			text := `<string name="other">` + l + `</string>`
			if random.IntN(8) < n {
				text += `<string name="app">` + l + `</string>`
			}
			put("res/values-"+l+"/s.xml", `<resources>`+text+`</resources>`)
		}
		t.Run(fmt.Sprint(n, " of 8"), func(t *testing.T) { compareBadging(t, byAapt(t, dir)) })
	}
}
