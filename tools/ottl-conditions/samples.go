package main

import (
	"encoding/binary"
	"math/rand"
	"regexp"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var (
	attributeKey = regexp.MustCompile(`attributes\["([^"\\]*)"\]`)
	literal      = regexp.MustCompile(`"([^"\\]*)"`)
)

// Makes random spans, each alone in a trace whose id is its number from 1. Keys and texts are those of the conditions, so
// that conditions hold for some of the spans. All times are set: a span without a start has no duration in Spansieve.
type sampler struct {
	chance      *rand.Rand
	keys, texts []string
	// Whether values may be lists, maps and bytes.
	nested bool
}

func samples(conditions []condition, chance *rand.Rand, count int, nested bool) []ptrace.Traces {
	s := sampler{chance: chance, nested: nested, texts: []string{"", "a", "abc", "GET /x", "500", "2.5", "-3", "Straße", "ABC", "a-b-c", "true"}}
	for _, c := range conditions {
		for _, match := range attributeKey.FindAllStringSubmatch(c.text, -1) {
			s.keys = append(s.keys, match[1])
		}
		for _, match := range literal.FindAllStringSubmatch(c.text, -1) {
			s.texts = append(s.texts, match[1])
		}
	}
	s.keys, s.texts = distinct(s.keys), distinct(s.texts)
	traces := make([]ptrace.Traces, count)
	for i := range traces {
		traces[i] = s.trace(uint64(i) + 1)
	}
	return traces
}

func distinct(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

func oneOf[T any](chance *rand.Rand, values ...T) T {
	return values[chance.Intn(len(values))]
}

func (s *sampler) trace(number uint64) ptrace.Traces {
	trace := ptrace.NewTraces()
	resource := trace.ResourceSpans().AppendEmpty()
	s.attributes(resource.Resource().Attributes())
	scope := resource.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(s.text())
	scope.Scope().SetVersion(oneOf(s.chance, "", "2", "test_version"))
	s.attributes(scope.Scope().Attributes())
	s.span(scope.Spans().AppendEmpty(), number)
	return trace
}

func (s *sampler) span(span ptrace.Span, number uint64) {
	var traceID pcommon.TraceID
	binary.BigEndian.PutUint64(traceID[8:], number)
	span.SetTraceID(traceID)
	span.SetSpanID(pcommon.SpanID{1, 2, 3, 4, 5, 6, 7, byte(s.chance.Intn(4))})
	if s.chance.Intn(2) == 0 {
		span.SetParentSpanID(pcommon.SpanID{1, 2, 3, 4, 5, 6, 7, 9})
	}
	start := oneOf(s.chance, pcommon.Timestamp(1_700_000_000_000_000_000), 1_581_452_772_000_000_321)
	span.SetStartTimestamp(start)
	span.SetEndTimestamp(start + oneOf(s.chance, pcommon.Timestamp(0), 1, 1_000_000, 999_999_999, 1_000_000_000, 1_000_000_000_000))
	span.SetName(s.text())
	span.SetKind(ptrace.SpanKind(s.chance.Intn(6)))
	span.Status().SetCode(ptrace.StatusCode(s.chance.Intn(3)))
	span.Status().SetMessage(s.text())
	span.TraceState().FromRaw(oneOf(s.chance, "", "key1=val1,key2=val2", "hello=world"))
	span.SetFlags(oneOf(s.chance, uint32(0), 1, 257))
	s.attributes(span.Attributes())
	for range s.chance.Intn(3) {
		event := span.Events().AppendEmpty()
		event.SetName(s.text())
		event.SetTimestamp(oneOf(s.chance, start, 1_700_000_000_000_000_000))
		s.attributes(event.Attributes())
	}
}

func (s *sampler) text() string {
	return oneOf(s.chance, s.texts...)
}

func (s *sampler) attributes(attributes pcommon.Map) {
	share := oneOf(s.chance, 0.1, 0.5, 0.9)
	for _, key := range s.keys {
		if s.chance.Float64() < share {
			s.value(attributes.PutEmpty(key), 0)
		}
	}
}

func (s *sampler) value(value pcommon.Value, depth int) {
	kinds := 5
	if s.nested && depth < 3 {
		kinds = 8
	}
	switch s.chance.Intn(kinds) {
	case 0, 1:
		value.SetStr(s.text())
	case 2:
		value.SetInt(oneOf(s.chance, int64(0), 1, 2, 3, 4, -1, 200, 404, 500, 503, 1_000_000_000_000))
	case 3:
		value.SetDouble(oneOf(s.chance, 0, 1, 2.5, -1.5, 500, 3.14, 0.1, 1e15))
	case 4:
		value.SetBool(s.chance.Intn(2) == 0)
	case 5:
		value.SetEmptyBytes().Append(1, 2)
	case 6:
		list := value.SetEmptySlice()
		for range s.chance.Intn(4) {
			s.value(list.AppendEmpty(), depth+1)
		}
	default:
		entries := value.SetEmptyMap()
		for _, key := range []string{"slice", "name", "id", oneOf(s.chance, append(s.keys, "map")...)} {
			s.value(entries.PutEmpty(key), depth+1)
		}
	}
}
