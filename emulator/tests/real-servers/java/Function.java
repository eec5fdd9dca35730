import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.Executors;

/** A function on the server of the JDK: hooks, events that are echoed, and `GET /`. */
public class Function {
    static final Map<String, String> HOOKS = Map.of("/initialize", "POST", "/pre-freeze", "GET", "/pre-stop", "GET");

    static void answer(HttpExchange call) throws IOException {
        byte[] event = call.getRequestBody().readAllBytes();
        String method = call.getRequestMethod();
        String path = call.getRequestURI().getPath();
        // A client of an HTTP trigger must not reach the hooks.
        boolean inside = !"/http-invoke".equals(call.getRequestHeaders().getFirst("x-fc-control-path"));
        int status = 404;
        byte[] body = "no such path".getBytes();
        if (inside && method.equals(HOOKS.get(path))) {
            status = 200;
            body = "ok".getBytes();
        } else if (inside && method.equals("POST") && path.equals("/invoke")) {
            status = 200;
            body = event;
        } else if (method.equals("GET") && path.equals("/")) {
            status = 200;
            body = "hello".getBytes();
        }
        call.getResponseHeaders().set("x-fc-status", status < 400 ? "200" : "404");
        call.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        call.getResponseBody().write(body);
        call.close();
    }

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(System.getenv("FC_CUSTOM_LISTEN_PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("0.0.0.0", port), 0);
        server.createContext("/", Function::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
