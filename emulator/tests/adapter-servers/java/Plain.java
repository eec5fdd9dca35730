import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** The same on the server of the JDK. */
public class Plain {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("0.0.0.0", port), 0);
        server.createContext("/", call -> {
            byte[] body = call.getRequestBody().readAllBytes();
            if (!call.getRequestMethod().equals("POST")) {
                body = "hello".getBytes();
            }
            boolean isHead = call.getRequestMethod().equals("HEAD");
            call.sendResponseHeaders(200, isHead || body.length == 0 ? -1 : body.length);
            if (!isHead) {
                call.getResponseBody().write(body);
            }
            call.close();
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
