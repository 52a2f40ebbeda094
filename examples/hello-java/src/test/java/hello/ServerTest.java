package hello;

import static org.junit.Assert.assertTrue;

import org.junit.Test;

public class ServerTest {
    @Test
    public void theGreetingRepeatsWhatWasSent() {
        assertTrue(Server.greeting("ping").endsWith(": ping\n"));
    }
}
