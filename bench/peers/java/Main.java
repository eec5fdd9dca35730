// Peer: Java's com.sun.net.httpserver, which is in every JDK.
package peer;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;

public final class Main {
    private static final byte[] READY = {'r', 'e', 'a', 'd', 'y'};

    public static void main(String[] arguments) throws IOException {
        // Without it each reply waits for the acknowledgement of its head.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        // 30 s by default, which the platform's contract forbids (C-CONN-1).
        System.setProperty("sun.net.httpserver.idleInterval", "900");
        System.setProperty("sun.net.httpserver.maxIdleConnections", "2048");
        String port = System.getenv("FC_SERVER_PORT");
        InetSocketAddress address = new InetSocketAddress("0.0.0.0", port == null ? 9000 : Integer.parseInt(port));
        HttpServer server = HttpServer.create(address, 1024);
        server.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            exchange.getResponseHeaders().set("x-fc-status", "200");
            exchange.getResponseHeaders().set("content-type", "text/plain; charset=utf-8");
            exchange.sendResponseHeaders(200, READY.length);
            exchange.getResponseBody().write(READY);
            exchange.close();
        });
        server.start();
    }
}
