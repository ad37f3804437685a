# The smallest Rack application.
run ->(env) { [200, { "Content-Type" => "text/plain" }, ["hello from puma\n"]] }
