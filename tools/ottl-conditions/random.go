package main

import (
	"fmt"
	"math/rand"
	"strconv"
)

// Makes terms by chance. All fields of a comparison have one owner, because Spansieve refuses others.
type maker struct {
	chance *rand.Rand
	// The owner of the fields: `span`, `resource`, `scope`, `instrumentation_scope` or `spanevent`.
	owner string
	depth int
}

func randomCondition(chance *rand.Rand) condition {
	context := oneOf(chance, "span", "span", "span", "spanevent")
	return condition{expression(chance, context, 0), context}
}

func expression(chance *rand.Rand, context string, depth int) string {
	kind := chance.Intn(10)
	switch {
	case depth == 2 || kind < 6:
		owners := []string{"span", "resource", "scope", "instrumentation_scope"}
		if context == "spanevent" {
			owners[0] = "spanevent"
		}
		m := maker{chance: chance, owner: oneOf(chance, owners...)}
		return m.comparison()
	case kind == 6:
		return "not (" + expression(chance, context, depth+1) + ")"
	default:
		return expression(chance, context, depth+1) + oneOf(chance, " and ", " or ") + expression(chance, context, depth+1)
	}
}

func (m *maker) comparison() string {
	operator := oneOf(m.chance, "==", "!=", "<", "<=", ">", ">=")
	switch m.chance.Intn(14) {
	case 0, 1:
		return m.number() + " " + operator + " " + m.number()
	case 2, 3:
		return m.text() + " " + operator + " " + m.text()
	case 4:
		return m.attribute() + " " + operator + " " + m.value()
	case 5:
		return m.value() + oneOf(m.chance, " == ", " != ") + "nil"
	case 6:
		return m.attribute() + " " + operator + oneOf(m.chance, " true", " false")
	case 7:
		return m.call(oneOf(m.chance, "HasPrefix", "HasSuffix"), m.text(), m.text())
	case 8:
		return m.call("ContainsValue", m.list(), oneOf(m.chance, m.number, m.text)())
	case 9:
		return m.call("IsMatch", oneOf(m.chance, m.number, m.text)(), strconv.Quote(oneOf(m.chance, "^a", "[0-9]+", "abc|500", "^$", ".*")))
	case 10:
		return m.call(oneOf(m.chance, "IsString", "IsBool", "IsInt", "IsDouble", "IsList", "IsMap"), m.attribute())
	case 11:
		return m.call("IsEmpty", m.value())
	case 12:
		return m.call("Bool", oneOf(m.chance, m.attribute, m.number, m.text)()) + oneOf(m.chance, " == ", " != ") + "true"
	default:
		return "span.end_time - span.start_time " + operator + oneOf(m.chance, ` Duration("1s")`, ` Duration("0s")`)
	}
}

func (m *maker) call(name string, arguments ...string) string {
	text := name + "("
	for i, argument := range arguments {
		if i > 0 {
			text += ", "
		}
		text += argument
	}
	return text + ")"
}

// Returns a term of those, or a leaf below a depth of three.
func (m *maker) deeper(leaf func() string, terms ...func() string) string {
	if m.depth == 3 || m.chance.Intn(3) == 0 {
		return leaf()
	}
	m.depth++
	defer func() { m.depth-- }()
	return oneOf(m.chance, terms...)()
}

func (m *maker) attribute() string {
	key := oneOf(m.chance, "foo", "bar", "n", "t", "things")
	inner := oneOf(m.chance, "", "", "", "", `["name"]`, "[0]")
	return fmt.Sprintf("%s.attributes[%q]%s", m.owner, key, inner)
}

func (m *maker) value() string {
	// In the Collector, a list that Split makes is equal to none.
	return oneOf(m.chance, m.number, m.text, m.entries, func() string { return "[" + m.text() + ", " + m.number() + "]" })()
}

func (m *maker) number() string {
	return m.deeper(
		func() string { return oneOf(m.chance, "0", "1", "-1", "3", "500", "0.0", "2.5", "-1.5") },
		m.attribute,
		func() string { return m.call("Len", oneOf(m.chance, m.attribute, m.text, m.list)()) },
		func() string { return m.call("Int", oneOf(m.chance, m.attribute, m.number)()) },
		func() string { return m.call("Double", oneOf(m.chance, m.attribute, m.number)()) },
		func() string {
			return m.call("Index", oneOf(m.chance, m.attribute, m.text)(), strconv.Quote(oneOf(m.chance, "a", "500", "-")))
		},
		func() string { return "(" + m.number() + oneOf(m.chance, " + ", " - ", " / ") + m.number() + ")" },
		// Large products do not fit into 64 bits, which is an error in Spansieve only.
		func() string { return "(" + m.number() + " * " + oneOf(m.chance, "0", "3", "-1", "2.5") + ")" },
		func() string {
			if m.owner != "span" {
				return m.attribute()
			}
			return oneOf(m.chance, "span.kind", "span.flags", "span.status.code", "Hour(span.start_time)", "Year(span.start_time)",
				"UnixMilli(span.end_time)", "Milliseconds(span.end_time - span.start_time)", "Seconds(span.end_time - span.start_time)")
		},
	)
}

func (m *maker) text() string {
	return m.deeper(
		func() string {
			return strconv.Quote(oneOf(m.chance, "", "a", "abc", "500", "2.5", "a-b-c", "Straße", "ABC", " a "))
		},
		m.attribute,
		func() string { return m.call("String", oneOf(m.chance, m.attribute, m.number)()) },
		func() string {
			return m.call("Concat", "["+m.text()+", "+oneOf(m.chance, m.text, m.number)()+"]", oneOf(m.chance, `""`, `"-"`))
		},
		func() string { return m.call("Coalesce", "["+m.attribute()+", "+m.text()+"]") },
		func() string {
			return m.call("Substring", m.text(), strconv.Itoa(m.chance.Intn(3)), strconv.Itoa(m.chance.Intn(4)))
		},
		func() string { return m.call(oneOf(m.chance, "ToLowerCase", "ToUpperCase"), m.text()) },
		func() string { return m.call("ConvertCase", m.text(), oneOf(m.chance, `"lower"`, `"upper"`)) },
		func() string { return m.call("Trim", m.text(), oneOf(m.chance, `"a"`, `"-c"`, `" "`)) },
		func() string { return m.call(oneOf(m.chance, "TrimPrefix", "TrimSuffix"), m.text(), m.text()) },
		func() string {
			return m.call("Split", m.text(), oneOf(m.chance, `"-"`, `""`)) + oneOf(m.chance, "[0]", "[1]")
		},
		func() string {
			if m.owner != "span" {
				return m.attribute()
			}
			return oneOf(m.chance, "span.name", "span.status.message", "span.trace_state", `span.trace_state["key1"]`, "span.kind.string", "span.span_id.string")
		},
	)
}

func (m *maker) list() string {
	return m.deeper(
		func() string { return oneOf(m.chance, "[]", `["a", 1]`, "[500, 2.5]") },
		m.attribute,
		func() string { return "[" + m.text() + ", " + m.number() + "]" },
		func() string { return m.call("Split", m.text(), oneOf(m.chance, `"-"`, `""`)) },
	)
}

func (m *maker) entries() string {
	return oneOf(m.chance, "{}", `{"name": 1}`, `{"name": `+m.text()+`, "id": `+m.number()+"}")
}
