// Jaeger, of this version and hash (v1.76.0 holds v2.13). What it is built of its own go.mod and go.sum say.
module jaeger

go 1.24.6

require github.com/jaegertracing/jaeger v1.76.0
