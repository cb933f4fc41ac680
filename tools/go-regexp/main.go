// Asks Go's regexp package for its answers to patterns and texts, and writes those with which the tests of
// crates/core/src/condition/pattern compare:
//
//	go run -C tools/go-regexp . > crates/core/src/condition/pattern/tests/go.json
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"
)

// Patterns from public configurations, and patterns that can be read in two ways.
var patterns = []string{
	``, `a`, `abc`, `^/\w+$`, `^/[^/]+$`, `^/users/{id}$`, `{`, `{}`, `{a}`, `a{`, `a{,2}`, `a{2`, `a{02}`, `x{2}`, `x{2,}`, `x{2,3}`,
	`x{0}`, `x{0,0}y`, `x{3,2}`, `x{1000}`, `x{1001}`, `(x{10}){100}`, `(x{10}){101}`, `((x{2}){0}){1000}`, `(x{2,}){600}`,
	`(?:x{1,10}){1,100}`, `x{99999999999}`, `{2}`, `^{2}`, `^*`, `\b+`, `(|a)*`, `(|a)+`, `()`, `()*`, `(?:)`, `|`, `a|`, `|a`, `a||b`,
	`^\w{1,32}$`, `^[\w.-]{1,64}@`, `^.{1,255}$`, `\d`, `\D`, `\s`, `\S`, `\w`, `\W`, `\b`, `\B`, `\bfoo\b`, `\B\w\B`, `^\s+$`, `[\d]`, `[^\d]`,
	`[\D]`, `[\w\s]`, `[^\W]`, `\v`, `\t`, `\n`, `\a\f\r`, `[a&&b]`, `[a~~b]`, `[a--b]`, `[+--]`, `[a-\d]`, `[\d-z]`, `[a-]`, `[-a]`, `[]a]`, `[^]a]`,
	`[]`, `[^]`, `[a`, `[[]`, `[[:alpha:]]`, `[[:^alpha:]]`, `[^[:alpha:]]`, `[[:word:]]`, `[[:space:]]`, `[[:punct:]]`, `[[:foo:]]`, `[[:alpha]`,
	`[:alpha:]`, `[[:ALPHA:]]`, `[z-a]`, `[a-b-c]`, `[\]]`, `[\^a]`, `[a^]`, `[\x41-\x43]`, `[\x{e9}]`, `[é]`, `[^é]`, `[\pL]`, `[^\pL]`,
	`\pL`, `\PL`, `\pN`, `\p{L}`, `\p{Lu}`, `\p{^Lu}`, `\P{^Lu}`, `\p{Greek}`, `\p{^Greek}`, `\P{Greek}`, `\p{greek}`, `\p{GREEK}`, `\p{Grek}`, `\p{Thai}`,
	`\p{Is_Greek}`, `\p{script=Greek}`, `\p{Alphabetic}`, `\p{Letter}`, `\p{Uppercase_Letter}`, `\p{uppercase letter}`, `\p{Any}`, `\p{ASCII}`,
	`\p{Assigned}`, `\p{Cn}`, `\p{Cs}`, `\p{Zl}`, `\p{LC}`, `\pC`, `\p`, `\p{`, `\p{}`, `\pZ`, `\p{Foo}`, `\p{Han}`, `\p{digit}`, `\pé`,
	`\07`, `\0`, `\101`, `\777`, `\1`, `\18`, `\8`, `[\1]`, `[\101]`, `\x41`, `\x4`, `\x`, `\xZZ`, `\x{41}`, `\x{}`, `\x{110000}`, `\x{10ffff}`, `\x{d800}`,
	`[\x{d800}-\x{dfff}]`, `[\x{d7ff}-\x{e000}]`, `\x{0000000041}`, `\x{4G}`, `\x{41`, `\C`, `\Q.*\E`, `\Q.*`, `\Qab\E+`, `\Q\E*`, `a\Q\E*`, `\E`, `\Q\\E`,
	`\A`, `\z`, `\Z`, `\Aab`, `ab\z`, `\_`, `\-`, `\/`, `\"`, `\q`, `\e`, `\é`, `\`, `a\`, `[\b]`, `\cA`, `\G`, `\K`, `\R`, `\X`, `\h`, `\N`, `\u0041`,
	`.`, `(?s).`, `^.$`, `^..$`, `^...$`, `(?s)^.$`, `(?s)a.b`, `a.b`, `^a$`, `(?m)^a$`, `(?m)^$`, `(?m)b$`, `(?-m)b$`, `$`, `^`, `a$b`, `(?i)straße`, `(?i)k`, `(?i)K`, `(?i)ſ`,
	`(?i)[k]`, `(?i)[^k]`, `(?i)\w`, `(?i)^\w$`, `(?i)^\W$`, `(?i)[[:upper:]]`, `(?i)\p{Lu}`, `(?i)\P{Lu}`, `(?i)\p{Greek}`, `(?i)[a-z]+`, `(?i)É`, `(?i)Σ`,
	`(?i:a)B`, `(?i:a)b`, `a(?i)b`, `(a(?i)b)c`, `(?i)a(?-i)b`, `(?i-s:a.)`, `(?U)a+`, `(?U)a+?b`, `(?Ui)A*`, `(?x)a b`, `(?u)a`, `(?-)a`, `(?)a`, `(?i-)a`, `(?--i)a`,
	`(?i`, `(?`, `(`, `)`, `(a`, `a)`, `(a))`, `((a)`, `(?:a`, `(?P<n>a)`, `(?<n>a)`, `(?P<n>a)(?P<n>b)`, `(?P<>a)`, `(?P<é>a)`, `(?P<1>a)`, `(?P<a-b>a)`,
	`(?P<n`, `(?P=n)`, `(?P>n)`, `(?'n'a)`, `(?=a)`, `(?!a)`, `(?<=a)`, `(?<!a)`, `(?>a)`, `(?#c)`, `(a)\1`, `a**`, `a*+`, `a+*`, `a??`, `a*?`, `a+?`, `a???`, `a{2}{3}`, `a{2}?`,
	`a{2}*`, `*`, `+a`, `?`, `a|*`, `(*a)`, `(?i)*`, `a(?i)*`, `a*(?i)*`, `]`, `}`, `a]b}`, `a-b`, `a,b`, `&&`, `~`, `#`, `a b`, `é`, `^é$`, `é+`, `é{2}`, `日本`, `[日-本]`, "\ufffd", `[^\x{fffd}]`, "^\ufffd$", "^a\ufffd+b$",
	`^/healthz?$`, `^/(live|ready)$`, `/api/v[0-9]+/.*`, `^GET /users/\d+$`, `^5\d\d$`, `^(4|5)[0-9]{2}$`, `(?i)^error`, `^true$`, `^-?\d+(\.\d+)?$`,
	`^(?P<version>v[0-9]+)/(?P<kind>[^/]+)(?:/(?P<id>.+))?$`, `(?P<first>\w+)\s+(?P<second>\w+)`, `(?P<a>a*?)(?P<b>a*)b`, `(?P<x>x)?(?P<y>y)?`, `(?P<l>a|ab)(?P<r>c|bcd)`,
	`(?U)(?P<l>a+)(?P<r>a*)`, `(?P<o>(?P<i>a)|b)+`, `(?P<z>x){0}(?P<w>a)`,
}

var texts = []string{
	"", "a", "b", "ab", "abc", "aa", "aab", "aaa", "A", "AB", "k", "K", "\u212a", "s", "\u017f", "S", "x", "xx", "xxx", "xxxx", "xy", "y", "{", "}", "{}", "{a}", "a{", "a{2", "a{,2}", "a{02}",
	"/users/{id}", "/users/7", "/straße", "/strasse", "STRASSE", "STRAßE", "straße", "a&b", "&", "&&", "a~b", "~", "-", "--", "+", ",", ".", ".*", "]", "[", "^", "_", "\\", "/", "\"", "é", "É", "éé", "e\u0301", "日", "日本", "本",
	"α", "Σ", "σ", "ς", "ก", "٣", "7", "42", "-3.25", "503", "404", "200", "true", " ", "\t", "\n", "\v", "\f", "\r", "\u00a0", "\u2028", "a b", "a\nb", "b\na", "a\n", "\na", "foo bar", "foo", "xfoox", "\x07", "\x00", "\x7f", "\u0378", "\u01ff", "\ufffd", "\U0010ffff", "a\ufffdb",
	"\xff", "\xff\xfe", "a\xffb", "\xc3", "\xe2\x82", "\xe2\x82a", "\xed\xa0\x80", "a\xe2\x82b", "é\xc3", "/healthz", "/live", "/api/v2/x", "GET /users/12", "error", "Error: x", "v1/user/7", "v2/user", "user.name-1@example.com",
	"alpha", ":a", "abcd", "aé", "aéa", "0", "18", "\x018", "A4", "AAAA",
}

// The pieces of random patterns.
var pieces = []string{
	"a", "b", "x", "é", ".", "^", "$", "|", "(", ")", "(?:", "(?i)", "(?i:", "(?s)", "(?m)", "(?U)", "(?P<n>", "*", "+", "?", "*?", "{2}", "{1,3}", "{0,}", "{", "}", "[", "]", "[^", "-", "[ab]", "[^a]", "[a-x]", "[[:alpha:]]",
	"\\d", "\\w", "\\W", "\\s", "\\b", "\\B", "\\pL", "\\P{Lu}", "\\x{e9}", "\\101", "\\Q", "\\E", "\\.", "\\A", "\\z", "&&", "7", "/", "k", "[^\\w]", "[\\d-]",
}

type answer struct {
	Pattern string `json:"pattern"`
	Refused bool   `json:"refused,omitempty"`
	// One digit for each text: 1 if the text contains a match.
	Found string `json:"found,omitempty"`
	// The matches of the named groups, for each text that contains a match.
	Groups [][]string `json:"groups,omitempty"`
}

func ask(pattern string) answer {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return answer{Pattern: pattern, Refused: true}
	}
	found := strings.Builder{}
	var groups [][]string
	for _, text := range texts {
		match := compiled.FindStringSubmatch(text)
		if match == nil {
			found.WriteByte('0')
			continue
		}
		found.WriteByte('1')
		var named []string
		names := compiled.SubexpNames()
		for i, name := range names {
			// If two groups have the same name, the last one counts.
			if name != "" && !slices.Contains(names[i+1:], name) {
				named = append(named, hex.EncodeToString([]byte(match[i])))
			}
		}
		if named != nil {
			groups = append(groups, named)
		}
	}
	return answer{Pattern: pattern, Found: found.String(), Groups: groups}
}

func print(value any, end string) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Fprint(os.Stdout, string(line), end)
}

// All categories and scripts that Go knows by name.
func properties() []string {
	var names []string
	for name := range unicode.Categories {
		names = append(names, name)
	}
	for name := range unicode.CategoryAliases {
		names = append(names, name)
	}
	for name := range unicode.Scripts {
		// Go before 1.25 found scripts with names of several words, such as Old_Italic. Later versions do not.
		if _, err := regexp.Compile(`\p{` + name + `}`); err == nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func main() {
	random := rand.New(rand.NewSource(1))
	asked := append([]string{}, patterns...)
	for _, name := range properties() {
		asked = append(asked, `\p{`+name+`}`)
	}
	for range 700 {
		pattern := ""
		for range 1 + random.Intn(9) {
			pattern += pieces[random.Intn(len(pieces))]
		}
		asked = append(asked, pattern)
	}
	var encoded []string
	for _, text := range texts {
		encoded = append(encoded, hex.EncodeToString([]byte(text)))
	}
	fmt.Print("{\"texts\": ")
	print(encoded, ",\n\"answers\": [\n")
	for i, pattern := range asked {
		end := ",\n"
		if i == len(asked)-1 {
			end = "\n]}\n"
		}
		print(ask(pattern), end)
	}
}
