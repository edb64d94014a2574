# A small Sinatra app that says who it is.
require "json"
require "sinatra/base"

class Sample < Sinatra::Base
  get "/" do
    content_type :json
    application = JSON.parse(ENV.fetch("VCAP_APPLICATION", "{}"))
    { app: application["application_name"], instance_index: ENV["CF_INSTANCE_INDEX"].to_i, ruby: RUBY_VERSION }.to_json
  end

  get("/health") { "ok" }
  get("/crash") { Process.exit!(1) }
end

run Sample
