// The smallest instrumented service in Go.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

var name, next = os.Getenv("OTEL_SERVICE_NAME"), os.Getenv("NEXT_URL")

// Without SetTracerProvider nothing is sent, without the propagator each service begins a trace of its own, and without
// Shutdown the last spans of the process are lost. The exporter and the sampler read the OTEL_ variables.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	defer provider.Shutdown(context.Background())
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))

	server := http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: otelhttp.NewHandler(http.HandlerFunc(work), "GET /work")}
	go server.ListenAndServe()
	<-ctx.Done()
	server.Shutdown(context.Background())
}

var client = http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}

func work(answer http.ResponseWriter, request *http.Request) {
	if request.URL.Query().Get("fail") == name {
		http.Error(answer, name+" fails as asked", http.StatusInternalServerError)
		return
	}
	call, err := http.NewRequestWithContext(request.Context(), http.MethodGet, next+"/work?"+request.URL.RawQuery, nil)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	response, err := client.Do(call)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	answer.WriteHeader(response.StatusCode)
	fmt.Fprintf(answer, "%s, ", name)
	io.Copy(answer, response.Body)
}
