package schema

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// The quick ways prepare text as the long one does.
func TestQuickPreparationAgrees(t *testing.T) {
	r := rapid.OneOf(
		rapid.RuneFrom([]rune(" \t\x00aBzßİıĳſŉǰǅΣςσÅ\u00a0\u00a8\u00ad\u037a\u0384")),
		rapid.Int32Range(0, 0x520),
		rapid.RuneFrom([]rune("\u0301\u0308\u0345\ufb01가ᄀ")),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(string(rapid.SliceOfN(r, 0, 6).Draw(t, "text")))
		for _, foldCase := range []bool{true, false} {
			slow, slowErr := prepareAny(text, foldCase)
			quick, ok := prepareEuropean(nil, text, foldCase)
			if ok && (slowErr != nil || !bytes.Equal(slow, quick)) {
				t.Fatalf("%q: quick %q, slow %q, %v", text, quick, slow, slowErr)
			}
			if slowErr != nil {
				continue
			}
			match, err := appendMatch(nil, text, foldCase)
			if want := squeeze(nil, slow); err != nil || !bytes.Equal(match, want) {
				t.Fatalf("%q: %q, %v; want %q", text, match, err, want)
			}
		}
	})
}

// Text that is taken for folded would come out of another round as it is.
func TestFoldedTextIsFolded(t *testing.T) {
	caser := cases.Fold()
	for r := rune(0x80); r < 0x20000; r++ { // beyond lie ideographs, tags and private use
		for _, text := range []string{string(r), string(r) + "\u0301", "a" + string(r)} {
			if !isFolded(caser, []byte(text)) {
				continue
			}
			folded := caser.Bytes(norm.NFD.Bytes([]byte(text)))
			if again := norm.NFKC.Bytes(bytes.Map(foldCherokee, folded)); string(again) != text {
				t.Fatalf("%U: %q is taken for folded and becomes %q", r, text, again)
			}
		}
	}
}

// The tables of RFC 3454, which RFC 4518 names, give the same for every code point that they know, but for capitals that
// a later Unicode gave a small letter.
func TestTablesOfRFC3454(t *testing.T) {
	later := func(r rune) bool {
		return r >= 0x10A0 && r <= 0x10C5 || r == 0x04C0 || r == 0x2132 || r == 0x2183
	}
	prohibited := []stringprep.Set{stringprep.TableA1, stringprep.TableC3, stringprep.TableC4, stringprep.TableC8, {{0xFFFD, 0xFFFD}}}
	for r := rune(0); r <= 0x10FFFF; r++ {
		if stringprep.TableA1.Contains(r) || stringprep.TableC5.Contains(r) || later(r) {
			continue
		}
		mapped := ""
		switch mapping(r) {
		case toSpace:
			mapped = " "
		case toItself:
			mapped = string(r)
			if to, ok := stringprep.TableB2.Map(r); ok {
				mapped = string(to)
			}
		}
		want := norm.NFKC.String("x" + mapped + "x")
		refused := strings.ContainsFunc(want, func(r rune) bool {
			return slices.ContainsFunc(prohibited, func(s stringprep.Set) bool { return s.Contains(r) })
		})
		got, err := prepare(nil, []byte("x"+string(r)+"x"), true)
		if refused != (err != nil) || err == nil && string(got) != want {
			t.Errorf("%U: %+q, %v; the tables give %+q, prohibited: %v", r, got, err, want, refused)
		}
	}
}

func FuzzPrep(f *testing.F) {
	for _, seed := range []string{"", " a  B ", "Straße", "a\u0301", "\ufb01", "\xff", "가", "\u1806\u00ad", "+1-2 3"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, foldCase := range []bool{true, false} {
			once, err := appendMatch(nil, text, foldCase)
			if err != nil {
				continue
			}
			twice, err := appendMatch(nil, once, foldCase)
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%q: %q, then %q, %v", text, once, twice, err)
			}
			if len(once) > 40*len(text)+1 {
				t.Fatalf("%d octets became %d", len(text), len(once))
			}
			// A value has itself as an initial, an any and a final piece.
			value, err := appendSubstring(nil, text, foldCase, wholeValue)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []place{initialPiece, anyPiece, finalPiece} {
				piece, err := appendSubstring(nil, text, foldCase, at)
				if err != nil || !bytes.Contains(value, piece) {
					t.Fatalf("%q as %d: %q is not in %q, %v", text, at, piece, value, err)
				}
			}
		}
		for _, hyphens := range []bool{true, false} {
			once, err := appendWithout(nil, text, hyphens)
			if err != nil {
				continue
			}
			if twice, err := appendWithout(nil, once, hyphens); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%q: %q, then %q, %v", text, once, twice, err)
			}
		}
	})
}
