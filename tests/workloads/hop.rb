# One hop of a chain in puma: a rack application in a pool of threads, its calls made by Net::HTTP, no tracing.
#
#     ruby hop.rb [--next URL] [--client thread|pool|oneshot] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
#
# Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. With --order nested each
# call is made by a thread of its own.

require 'net/http'
require 'optparse'
require 'rack'
require 'rack/handler/puma'

THREADS = 32

# A connection that was not started lasts for one call.
class OneShot
  def initialize(base)
    @base = base
  end

  def get(path)
    connection.get(path)
  end

  private

  # Without the proxy that the environment may name.
  def connection
    Net::HTTP.new(@base.host, @base.port, nil)
  end
end

# Every thread has a connection of its own.
class PerThread < OneShot
  def get(path)
    (Thread.current[:connection] ||= connection.start).get(path)
  end
end

# Any thread takes any idle connection, the one that was used last first.
class Pool < OneShot
  def initialize(base)
    super
    @idle = []
    @lock = Mutex.new
  end

  def get(path)
    kept = @lock.synchronize { @idle.pop } || connection.start
    answer = kept.get(path)
    @lock.synchronize { @idle.push(kept) }
    answer
  end
end

CLIENTS = { 'oneshot' => OneShot, 'thread' => PerThread, 'pool' => Pool }.freeze

class Hop
  def initialize(options)
    @options = options
    return unless options[:next]

    base = URI(options[:next])
    @prefix = base.path
    @client = options[:client].new(base)
  end

  # What rack calls for each request.
  def call(env)
    path = env['PATH_INFO']
    status, text = answer(path)
    # Puma closes what it has sent.
    body = Rack::BodyProxy.new([text]) { late_children(path).each { |child| ask(child) } }
    [status, { 'content-type' => 'text/plain', 'content-length' => text.bytesize.to_s }, body]
  end

  private

  def answer(path)
    [200, work(path).map { |called| "#{called}\n" }.join]
  rescue StandardError => e
    [502, e.inspect]
  end

  def work(path)
    called = @options[:order] == 'nested' ? ask_at_once(path) : ask_in_turn(path)
    think
    [path, *called, *late_children(path).flat_map { |child| [*via(child), child] }]
  end

  def ask_in_turn(path)
    children(path).flat_map do |child|
      think
      ask(child)
    end
  end

  def ask_at_once(path)
    think
    children(path).map { |child| Thread.new { ask(child) } }.flat_map(&:value)
  end

  # Makes one call; gives the paths that were called for it, its own first.
  def ask(path)
    answer = @client.get(@prefix + path)
    answer.value # raises unless it is a success
    via(path) + answer.body.lines(chomp: true)
  end

  # The call itself, where a proxy is to take a segment off its path.
  def via(path)
    @prefix.empty? ? [] : [@prefix + path]
  end

  def children(path)
    return [] if last?(path)

    Array.new(@options[:calls]) { |number| "#{path}.#{number}" }.select { rand >= @options[:skip] }
  end

  def late_children(path)
    last?(path) ? [] : Array.new(@options[:late]) { |number| "#{path}.late#{number}" }
  end

  def last?(path)
    @client.nil? || path.include?('.late')
  end

  def think
    ms = @options[:'think-ms'] + (rand * @options[:'jitter-ms'])
    sleep(ms / 1000) if ms.positive?
  end
end

options = {
  client: PerThread, calls: 1, skip: 0.0, late: 0, order: 'sequential', 'think-ms': 0.0, 'jitter-ms': 0.0
}
OptionParser.new do |parser|
  parser.on('--next URL')
  parser.on('--client CLIENT', CLIENTS)
  parser.on('--calls COUNT', Integer)
  parser.on('--skip SHARE', Float)
  parser.on('--late COUNT', Integer)
  parser.on('--order ORDER', %w[sequential nested])
  parser.on('--think-ms MS', Float)
  parser.on('--jitter-ms MS', Float)
end.parse!(into: options)

Rack::Handler::Puma.run(Hop.new(options), Host: '127.0.0.1', Port: 0, Threads: "0:#{THREADS}", Silent: true) do |launcher|
  launcher.events.on_booted do
    $stdout.puts(launcher.connected_ports.first)
    $stdout.flush
  end
end
