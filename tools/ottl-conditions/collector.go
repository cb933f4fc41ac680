package main

import (
	"context"
	"fmt"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspanevent"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The Collector's parsers, with the functions that `ottl_condition` has: for paths with and without the names of contexts.
type collector struct {
	spans  []ottl.Parser[*ottlspan.TransformContext]
	events []ottl.Parser[*ottlspanevent.TransformContext]
	parsed map[condition]parsed
}

type parsed struct {
	span  *ottl.Condition[*ottlspan.TransformContext]
	event *ottl.Condition[*ottlspanevent.TransformContext]
}

func newCollector() *collector {
	settings := componenttest.NewNopTelemetrySettings()
	spanFunctions := ottlfuncs.StandardConverters[*ottlspan.TransformContext]()
	isRootSpan := ottlfuncs.NewIsRootSpanFactory()
	spanFunctions[isRootSpan.Name()] = isRootSpan
	eventFunctions := ottlfuncs.StandardConverters[*ottlspanevent.TransformContext]()
	c := &collector{parsed: map[condition]parsed{}}
	for _, options := range [][]ottl.Option[*ottlspan.TransformContext]{nil, {ottlspan.EnablePathContextNames()}} {
		parser, err := ottlspan.NewParser(spanFunctions, settings, options...)
		check(err)
		c.spans = append(c.spans, parser)
	}
	for _, options := range [][]ottl.Option[*ottlspanevent.TransformContext]{nil, {ottlspanevent.EnablePathContextNames()}} {
		parser, err := ottlspanevent.NewParser(eventFunctions, settings, options...)
		check(err)
		c.events = append(c.events, parser)
	}
	return c
}

// Returns the context in which the text is a condition; nothing if it is none.
func (c *collector) context(text string) string {
	for _, context := range []string{"span", "spanevent"} {
		if _, err := c.parse(condition{text, context}); err == nil {
			return context
		}
	}
	return ""
}

func (c *collector) parse(of condition) (result parsed, err error) {
	if known, ok := c.parsed[of]; ok {
		return known, nil
	}
	// Some texts of the tests are a panic in the parser.
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%v", panicked)
		}
	}()
	for i := range c.spans {
		if of.context == "span" {
			result.span, err = c.spans[i].ParseCondition(of.text)
		} else {
			result.event, err = c.events[i].ParseCondition(of.text)
		}
		if err == nil {
			c.parsed[of] = result
			return result, nil
		}
	}
	return result, err
}

// Returns the answer for the one span of the trace: for a condition on events, whether it holds for one of them.
func (c *collector) answer(of condition, trace ptrace.Traces) (bool, error) {
	condition, err := c.parse(of)
	if err != nil {
		return false, err
	}
	resource := trace.ResourceSpans().At(0)
	scope := resource.ScopeSpans().At(0)
	span := scope.Spans().At(0)
	if condition.span != nil {
		return condition.span.Eval(context.Background(), ottlspan.NewTransformContext(resource, scope, span))
	}
	var failure error
	for _, event := range span.Events().All() {
		holds, err := condition.event.Eval(context.Background(), ottlspanevent.NewTransformContext(resource, scope, span, event))
		// With an error, the other value may be true.
		if err != nil {
			failure = err
		} else if holds {
			return true, nil
		}
	}
	return false, failure
}
