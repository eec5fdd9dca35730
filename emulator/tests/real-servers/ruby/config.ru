# A function for Puma: hooks, events that are echoed, and `GET /`.
HOOKS = { '/initialize' => 'POST', '/pre-freeze' => 'GET', '/pre-stop' => 'GET' }.freeze

run(lambda do |env|
  method, path = env['REQUEST_METHOD'], env['PATH_INFO']
  event = env['rack.input'].read
  # A client of an HTTP trigger must not reach the hooks.
  inside = env['HTTP_X_FC_CONTROL_PATH'] != '/http-invoke'
  status, body =
    if inside && HOOKS[path] == method then [200, 'ok']
    elsif inside && method == 'POST' && path == '/invoke' then [200, event]
    elsif method == 'GET' && path == '/' then [200, 'hello']
    else [404, 'no such path']
    end
  [status, { 'x-fc-status' => status < 400 ? '200' : '404', 'content-length' => body.bytesize.to_s }, [body]]
end)
