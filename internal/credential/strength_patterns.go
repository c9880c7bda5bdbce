package credential

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// match looks for all patterns.
func (c *cover) match() {
	c.matchWords(c.lower, 0, func(i int) int { return i })
	for _, reading := range leetReadings {
		plain, replaced := readLeet(c.lower, reading)
		if replaced {
			c.matchWords(plain, math.Log10(2), func(i int) int { return i })
		}
	}
	reversed := slices.Clone(c.lower)
	slices.Reverse(reversed)
	n := len(c.lower)
	c.matchWords(reversed, math.Log10(2), func(i int) int { return n - 1 - i })
	c.matchSequences()
	c.matchKeyboard()
	c.matchDates()
	if !c.nested {
		c.matchRepeats()
	}
}

// matchWords looks for words of the lists and of the user in a reading of the password. extra is what the reading costs, at
// leads from positions in it to those in the password.
func (c *cover) matchWords(text []rune, extra float64, at func(int) int) {
	for i := range text {
		h := uint64(hashStart)
		for j := i; j < len(text); j++ {
			h = hashRune(h, text[j])
			rank := c.dict.rank(h)
			if len(c.own) > 0 {
				if own := c.own[string(text[i:j+1])]; own > 0 && (rank == 0 || own < rank) {
					rank = own
				}
			}
			if rank == 0 {
				continue
			}
			lo, hi := at(i), at(j)
			if lo > hi {
				lo, hi = hi, lo
			}
			c.found(lo, hi, math.Log10(float64(rank))+extra+capitals(c.runes[lo:hi+1]))
		}
	}
}

// capitals is what the use of capitals costs a guesser.
func capitals(word []rune) float64 {
	upper, lower := 0, 0
	for _, r := range word {
		if unicode.IsUpper(r) {
			upper++
		} else if unicode.IsLower(r) {
			lower++
		}
	}
	switch {
	case upper == 0:
		return 0
	case lower == 0, upper == 1 && (unicode.IsUpper(word[0]) || unicode.IsUpper(word[len(word)-1])):
		return math.Log10(2)
	}
	ways := 0.0
	for k := 1; k <= min(upper, lower); k++ {
		ways += choose(upper+lower, k)
	}
	return math.Log10(ways)
}

// choose is the binomial coefficient.
func choose(n, k int) float64 {
	out := 1.0
	for i := 1; i <= k; i++ {
		out = out * float64(n-k+i) / float64(i)
	}
	return out
}

// leetReadings replace signs by the letters that they stand for; those that can stand for two have a reading each.
var leetReadings = [...]map[rune]rune{
	{'4': 'a', '@': 'a', '8': 'b', '(': 'c', '{': 'c', '[': 'c', '<': 'c', '3': 'e', '6': 'g', '9': 'g', '1': 'i', '!': 'i', '|': 'i', '0': 'o', '$': 's', '5': 's', '+': 't', '7': 't', '%': 'x', '2': 'z'},
	{'4': 'a', '@': 'a', '8': 'b', '(': 'c', '{': 'c', '[': 'c', '<': 'c', '3': 'e', '6': 'g', '9': 'g', '1': 'l', '!': 'l', '|': 'l', '0': 'o', '$': 's', '5': 's', '+': 't', '7': 'l', '%': 'x', '2': 'z'},
}

func readLeet(text []rune, reading map[rune]rune) (plain []rune, replaced bool) {
	plain = slices.Clone(text)
	for i, r := range plain {
		if letter, ok := reading[r]; ok {
			plain[i], replaced = letter, true
		}
	}
	return plain, replaced
}

// matchSequences looks for runs of equal steps, such as abcd, 8642 and zyx.
func (c *cover) matchSequences() {
	const maxStep = 5
	for i := 0; i+2 < len(c.runes); {
		step := c.runes[i+1] - c.runes[i]
		j := i + 1
		for j+1 < len(c.runes) && c.runes[j+1]-c.runes[j] == step {
			j++
		}
		if step != 0 && step >= -maxStep && step <= maxStep && j-i >= 2 {
			base := 26.0
			switch first := c.lower[i]; {
			case strings.ContainsRune("az019", first):
				base = 4
			case unicode.IsDigit(first):
				base = 10
			}
			if step < 0 {
				base *= 2
			}
			c.found(i, j, math.Log10(base*float64(j-i+1)))
		}
		i = j
	}
}

// keyboards are the keys of common layouts, by rows, without and with shift.
var keyboards = [...][]string{
	{"`1234567890-=", " qwertyuiop[]\\", " asdfghjkl;'", " zxcvbnm,./"},
	{"^1234567890ß´", " qwertzuiopü+", " asdfghjklöä#", " yxcvbnm,.-"},
	{"²&é\"'(-è_çà)=", " azertyuiop^$", " qsdfghjklmù*", " wxcvbn,;:!"},
	{"789", "456", "123", " 0."},
}

// keyPlaces returns where the keys are.
func keyPlaces(rows []string) map[rune][2]int {
	places := make(map[rune][2]int)
	for y, row := range rows {
		for x, r := range []rune(row) {
			if _, there := places[r]; r != ' ' && !there {
				places[r] = [2]int{x, y}
			}
		}
	}
	return places
}

// matchKeyboard looks for walks from key to neighbouring key.
func (c *cover) matchKeyboard() {
	const starts, neighbours = 47, 4.6
	for _, places := range c.dict.keyboards {
		for i := 0; i+2 < len(c.lower); {
			j, turns := i, 0
			var last [2]int
			for j+1 < len(c.lower) {
				a, ok1 := places[c.lower[j]]
				b, ok2 := places[c.lower[j+1]]
				step := [2]int{b[0] - a[0], b[1] - a[1]}
				if !ok1 || !ok2 || step == [2]int{} || abs(step[0]) > 1 || abs(step[1]) > 1 {
					break
				}
				if step != last {
					turns++
					last = step
				}
				j++
			}
			if j-i >= 2 {
				ways := 0.0
				for length := 2; length <= j-i+1; length++ {
					for t := 1; t <= min(turns, length-1); t++ {
						ways += choose(length-1, t-1) * starts * math.Pow(neighbours, float64(t))
					}
				}
				c.found(i, j, math.Log10(ways)+capitals(c.runes[i:j+1]))
			}
			i = max(j, i+1)
		}
	}
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// matchDates looks for years, and for days in a year with or without separators.
func (c *cover) matchDates() {
	const thisYear, nearYears = 2026, 20
	for i := range c.runes {
		digits, separators := 0, 0
		var number []rune
		for j := i; j < len(c.runes) && j-i < len("31.12.2026"); j++ {
			switch r := c.runes[j]; {
			case r >= '0' && r <= '9':
				digits++
				number = append(number, r)
			case strings.ContainsRune(" -/\\_.", r) && j > i:
				separators++
			default:
				j = len(c.runes)
				continue
			}
			if c.runes[j] < '0' || c.runes[j] > '9' {
				continue
			}
			switch {
			case digits == 4 && separators == 0:
				if year := decimal(number); year >= 1900 && year <= 2099 {
					c.found(i, j, math.Log10(float64(max(nearYears, abs(year-thisYear)))))
				}
				fallthrough
			case digits >= 4 && digits <= 8 && (separators == 0 || separators == 2):
				if year, ok := dateYear(number); ok {
					guesses := math.Log10(365 * float64(max(nearYears, abs(year-thisYear))))
					if separators > 0 {
						guesses += math.Log10(4)
					}
					c.found(i, j, guesses)
				}
			}
		}
	}
}

func decimal(digits []rune) (n int) {
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	return n
}

// dateYear reads digits as day, month and year, in the orders that people write them in.
func dateYear(digits []rune) (year int, ok bool) {
	full := func(y int, short bool) int {
		switch {
		case !short:
			return y
		case y > 50:
			return 1900 + y
		}
		return 2000 + y
	}
	day := func(a, b []rune) bool {
		x, y := decimal(a), decimal(b)
		return len(a) > 0 && len(b) > 0 && (x >= 1 && x <= 31 && y >= 1 && y <= 12 || x >= 1 && x <= 12 && y >= 1 && y <= 31)
	}
	for _, length := range [2]int{4, 2} {
		rest := len(digits) - length
		if rest < 2 || rest > 4 {
			continue
		}
		for _, first := range [2]bool{true, false} {
			y, d := digits[rest:], digits[:rest]
			if first {
				y, d = digits[:length], digits[length:]
			}
			value := full(decimal(y), length == 2)
			if value < 1900 || value > 2099 {
				continue
			}
			for cut := 1; cut <= 2 && cut < len(d); cut++ {
				if len(d)-cut <= 2 && day(d[:cut], d[cut:]) {
					return value, true
				}
			}
		}
	}
	return 0, false
}

// matchRepeats looks for what is there again and again, and takes it for the cost of one times their number.
func (c *cover) matchRepeats() {
	n := len(c.runes)
	for unit := 1; 2*unit <= n; unit++ {
		for i := 0; i+2*unit <= n; i++ {
			if i > 0 && c.runes[i-1] == c.runes[i-1+unit] {
				continue // it began further to the left
			}
			j := i + unit
			for j+unit <= n && slices.Equal(c.runes[j:j+unit], c.runes[i:i+unit]) {
				j += unit
			}
			if times := (j - i) / unit; times >= 2 {
				part := newCover(c.runes[i:i+unit], c.dict, c.own)
				part.nested = true
				c.found(i, j-1, part.cheapest()+math.Log10(float64(times)))
			}
		}
	}
}
