// Loaded before a program of Node, which it instruments: OpenTelemetry's own SDK, its spans by OTLP as the environment says.
//
//     OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 NODE_PATH=…/node_modules node --require ./sdk.js ../hop.js

'use strict'

const { NodeSDK } = require('@opentelemetry/sdk-node')
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http')

new NodeSDK({ instrumentations: [new HttpInstrumentation()] }).start()
